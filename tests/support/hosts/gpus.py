"""The machines with GPUs that a host can look like, as data: what is on the bus, in /dev and in the tree.

Which of these a host shows is `HostSpec.gpu`; driver.py turns it into the files of a kernel. Two surprises,
both as on real machines: the number in /dev/nvidiaN is the driver's minor, which is no index in PCI order
(eight GPUs, two with MIG), and a render node's number follows neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tests.support.hosts.nodes import Node
from tests.support.hosts.spec import Gpu

NVIDIA, AMD, INTEL = "0x10de", "0x1002", "0x8086"
VGA, THREE_D, OTHER_DISPLAY, ACCELERATOR = "0x030000", "0x030200", "0x038000", "0x120000"
DRIVER_VERSION = "570.86.15"

# Static ones are the kernel's; the dynamic ones are free on ordinary machines, so that no driver answers.
NVIDIA_MAJOR, DRI, ACCEL, UVERBS = 195, 226, 261, 231
MAJORS = {"nvidia": NVIDIA_MAJOR, "nvidia-uvm": 511, "nvidia-caps": 236, "nvidia-caps-imex-channels": 234}
SWITCHES, GDS, GDRDRV, KFD, NVHOST, NVGPU = 235, 238, 237, 240, 242, 243
MISC = 10


@dataclass(frozen=True)
class Card:
    """One PCI device; `card`, `render`, `accel` and `minor` number its nodes, None where it has none.

    `mig` are its compute instances, (GPU instance, compute instance); `attributes` more files in its
    directory in /sys.
    """

    address: str
    vendor: str
    device: str
    kind: str
    driver: str = ""
    model: str = ""
    uuid: str = ""
    minor: int | None = None
    card: int | None = None
    render: int | None = None
    accel: int | None = None
    numa_node: int = 0
    mig: tuple[tuple[int, int], ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def graphics(self) -> list[Node]:
        """Its nodes in /dev/dri, as its directory in /sys names them."""
        nodes = [Node(f"dri/card{self.card}", DRI, self.card)] if self.card is not None else []
        render = [Node(f"dri/renderD{self.render}", DRI, self.render)] if self.render is not None else []
        return nodes + render

    @property
    def nodes(self) -> list[Node]:
        numbered = [Node(f"nvidia{self.minor}", NVIDIA_MAJOR, self.minor)] if self.minor is not None else []
        accel = [Node(f"accel/accel{self.accel}", ACCEL, self.accel)] if self.accel is not None else []
        return [*numbered, *self.graphics, *accel, *(capability(minor) for minor in self.mig_minors)]

    @property
    def mig_minors(self) -> list[int]:
        """Of the capabilities that open its instances: one per GPU instance, one per compute instance."""
        gpu = self.minor or 0
        found = {mig_minor(gpu, gi) for gi, _ in self.mig} | {mig_minor(gpu, gi, ci) for gi, ci in self.mig}
        return sorted(found)


@dataclass(frozen=True)
class Machine:
    """A host's GPUs; `nodes` are those that belong to no card, `files` lie in the host's own tree.

    `drivers` are the loaded modules with the files that they have in /sys/module, `majors` what they add to
    /proc/devices.
    """

    cards: tuple[Card, ...] = ()
    nodes: tuple[Node, ...] = ()
    drivers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    majors: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def every_node(self) -> list[Node]:
        return [*self.nodes, *(node for card in self.cards for node in card.nodes)]

    @property
    def nvidia(self) -> tuple[Card, ...]:
        """Those that NVIDIA's driver has, and so shows in /proc."""
        return tuple(card for card in self.cards if card.driver == "nvidia")


def mig_minor(gpu: int, gi: int, ci: int | None = None) -> int:
    """As the driver counts them: 15 GPU instances to a GPU, 8 compute instances to each, after two others."""
    return 3 + gpu * 135 + gi * 9 + (0 if ci is None else 1 + ci)


def capability(minor: int, mode: int = 0o444) -> Node:
    return Node(f"nvidia-caps/nvidia-cap{minor}", MAJORS["nvidia-caps"], minor, mode)


CONTROL = (
    Node("nvidiactl", NVIDIA_MAJOR, 255),
    Node("nvidia-uvm", MAJORS["nvidia-uvm"], 0),
    Node("nvidia-uvm-tools", MAJORS["nvidia-uvm"], 1),
)
MODESET = Node("nvidia-modeset", NVIDIA_MAJOR, 254)
NEVER = (
    MODESET,
    capability(1, 0o400),
    capability(2),
    Node("nvidia-caps-imex-channels/channel0", MAJORS["nvidia-caps-imex-channels"], 0),
    Node("nvidia-fs0", GDS, 0),
    Node("gdrdrv", GDRDRV, 0),
    Node("infiniband/uverbs0", UVERBS, 192),
)
"""What lies beside NVIDIA's compute nodes and is nothing for a sandbox."""

_NVIDIA_DRIVERS = {
    "nvidia": {"version": DRIVER_VERSION, "initstate": "live"},
    "nvidia_uvm": {"initstate": "live"},
    "nvidia_modeset": {"version": DRIVER_VERSION, "initstate": "live"},
    "nvidia_drm": {"version": DRIVER_VERSION, "initstate": "live"},
}


def _nvidia(
    *cards: Card,
    nodes: tuple[Node, ...] = (),
    drivers: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> Machine:
    """A machine on which NVIDIA's driver is loaded, beside others."""
    return Machine(cards, (*CONTROL, *NEVER, *nodes), {**_NVIDIA_DRIVERS, **drivers}, MAJORS)


def _rtx3090(address: str, uuid: str, *, card: int, render: int) -> Card:
    return Card(
        address, NVIDIA, "0x2204", VGA, "nvidia", "NVIDIA GeForce RTX 3090", uuid, 0, card=card, render=render
    )


def _a100(address: str, minor: int, uuid: str, render: int, mig: tuple[tuple[int, int], ...] = ()) -> Card:
    return Card(
        address, NVIDIA, "0x20b0", THREE_D, "nvidia", "NVIDIA A100-SXM4-40GB", uuid, minor,
        card=render - 127, render=render, mig=mig,
    )  # fmt: skip


# PCI address, minor, render node, start of the UUID: no two orders agree, and two UUIDs begin alike.
_EIGHT = (
    ("0000:07:00.0", 3, 132, "3c1f7a52-90b4-4e1d-8a66-0d2b5e9c7f13"),
    ("0000:0f:00.0", 1, 128, "8f3a1c02-4b7d-4c95-9e20-61d7a8f0b3e4"),
    ("0000:47:00.0", 0, 135, "d45e9b17-2a08-4f63-b1c9-7e3f60a2d85c"),
    ("0000:4e:00.0", 2, 130, "8f3a1c02-4b7d-4c95-ae71-95c2e04d1b68"),
    ("0000:87:00.0", 7, 129, "0a96d3e8-71cf-4b2a-8d54-c8b1f72e603d"),
    ("0000:90:00.0", 5, 134, "b27c508f-e3d1-4690-a7f2-1f9e4d6b8a05"),
    ("0000:b7:00.0", 4, 131, "67e0f4a9-5c3b-4d82-93b6-a20d8c71e5f9"),
    ("0000:bd:00.0", 6, 133, "f18b62d7-06ea-4a3c-8c05-5b94e7d3a021"),
)


def _h100(place: int, address: str, minor: int, render: int, uuid: str) -> Card:
    """Its first node in /dev/dri is the second: the board has a screen of its own."""
    return Card(
        address, NVIDIA, "0x2330", THREE_D, "nvidia", "NVIDIA H100 80GB HBM3", f"GPU-{uuid}", minor,
        card=render - 127, render=render, numa_node=place // 4,
    )  # fmt: skip


def _mi210(address: str, unique: str, *, card: int) -> Card:
    said = {"unique_id": unique, "product_name": "AMD Instinct MI210"}
    return Card(
        address, AMD, "0x740f", OTHER_DISPLAY, "amdgpu", "AMD Instinct MI210",
        card=card, render=128 + card, attributes=said,
    )  # fmt: skip


_COMPUTE = Node("kfd", KFD, 0)
_AMDGPU = {"amdgpu": {"version": "6.10.5", "initstate": "live"}}
_NVHOST = ("ctrl", "ctrl-gpu", "gpu", "as-gpu", "prof-gpu")
_NVGPU = ("ctrl", "as", "channel", "power", "prof")
_WSL_STORE = "usr/lib/wsl/drivers/nvfrwi.inf_amd64_63d60f682af8cba2"
_WSL_LIBRARIES = ("libcuda.so", "libcuda.so.1", "libcuda.so.1.1", "libd3d12.so", "libdxcore.so")
_L4T = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
    "DATE: Wed Jan  8 01:49:37 UTC 2025\n"
)
_SCREEN = Node("dri/card0", DRI, 0)
_RENDER = Node("dri/renderD128", DRI, 128)
_XE = {"xe": {"initstate": "live"}, "intel_vpu": {"initstate": "live"}}

MACHINES: Mapping[Gpu, Machine] = {
    Gpu.NONE: Machine(),
    Gpu.NODES: Machine(nodes=(*CONTROL, MODESET, Node("nvidia0", NVIDIA_MAJOR, 0), _SCREEN, _RENDER)),
    Gpu.NODRIVER: Machine((Card("0000:65:00.0", NVIDIA, "0x2204", THREE_D),)),
    Gpu.NVIDIA: _nvidia(
        _rtx3090("0000:65:00.0", "GPU-5a1b2c3d-8e4f-4a6b-9c7d-1e2f3a4b5c6d", card=0, render=128)
    ),
    Gpu.NVIDIA8: _nvidia(
        *(_h100(place, *one) for place, one in enumerate(_EIGHT)),
        nodes=(
            _SCREEN,
            *(Node(f"nvidia-nvswitch{number}", SWITCHES, number) for number in range(4)),
            Node("nvidia-nvswitchctl", SWITCHES, 255),
        ),
    ),
    Gpu.MIG: _nvidia(
        _a100("0000:17:00.0", 1, "GPU-c9d8e7f6-1a2b-4c3d-8e5f-60718293a4b5", 128),
        _a100(
            "0000:65:00.0", 0, "GPU-1f2e3d4c-5b6a-4798-8a9b-acbdcedfe0f1", 129, mig=((1, 0), (2, 0), (2, 1))
        ),
        nodes=(_SCREEN,),
    ),
    Gpu.DXG: Machine(
        nodes=(Node("dxg", MISC, 125),),
        files={f"usr/lib/wsl/lib/{name}": "" for name in (*_WSL_LIBRARIES, "libnvidia-ml.so.1")}
        | {f"{_WSL_STORE}/{name}": "" for name in ("libcuda.so.1.1", "libnvidia-ml.so.1")},
    ),
    Gpu.AMD: Machine(
        (
            _mi210("0000:23:00.0", "6e1f0c2ab4d85973", card=0),
            _mi210("0000:c3:00.0", "a03d94e75b18c62f", card=1),
        ),
        (_COMPUTE,),
        _AMDGPU,
        {"kfd": KFD},
    ),
    Gpu.INTEL: Machine(
        (
            Card("0000:00:0b.0", INTEL, "0x7d1d", ACCELERATOR, "intel_vpu", accel=0),
            Card("0000:03:00.0", INTEL, "0x56a0", VGA, "xe", card=0, render=128),
        ),
        drivers=_XE,
        majors={"accel": ACCEL},
    ),
    Gpu.MIXED: _nvidia(
        Card("0000:00:02.0", INTEL, "0x4680", VGA, "i915", card=0, render=128),
        _mi210("0000:03:00.0", "51b7e60d9f24c38a", card=2),
        _rtx3090("0000:65:00.0", "GPU-e2d1c0bf-3a4b-4c5d-8e6f-708192a3b4c5", card=1, render=129),
        nodes=(_COMPUTE,),
        drivers={**_AMDGPU, "i915": {"initstate": "live"}},
    ),
    Gpu.JETSON: Machine(
        nodes=(
            Node("nvmap", MISC, 120),
            *(Node(f"nvhost-{name}", NVHOST, number) for number, name in enumerate(_NVHOST)),
            *(Node(f"nvgpu/igpu0/{name}", NVGPU, number) for number, name in enumerate(_NVGPU)),
            Node("nvsciipc", MISC, 119),
            Node("host1x-fence", NVHOST, 16),
            _SCREEN,
            _RENDER,
        ),
        files={"etc/nv_tegra_release": _L4T},
    ),
}
