"""Which GPUs of this host a policy gives to a sandbox, and which of their nodes there are.

The launcher decides the same in C, from the same rule (docs/policy.md, Devices); what this says is held
against what it did. Nothing is opened here and no library is asked.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fleetbox.hostside import gpu_map, paths
from fleetbox.hostside.detect import files
from fleetbox.hostside.detect.gpu import nvidia, others, pci
from fleetbox.hostside.detect.gpu.model import Gpu
from fleetbox.hostside.gpu_map import Device, GpuMap, MapInvalid
from fleetbox.hostside.paths import Places
from fleetbox.hostside.probes.gpu.resolved import resolved
from fleetbox.hostside.probes.gpu.selection import CDI, Instance, Picked, beyond_indices, pick, same_address

# A sandbox gets GPUs of the first of these that the policy names and the host has.
ORDER = ("wsl", "jetson", "nvidia", "amd", "intel", CDI)
CUDA = ("wsl", "jetson", "nvidia")
_TEGRA = ("/dev/nvmap", "/dev/nvhost-*", "/dev/nvgpu/igpu[0-9]*/*", "/dev/nvsciipc", "/dev/host1x-fence")
# With newer drivers, those of Orin and Thor, these two as well.
JETSON = (*_TEGRA, "/dev/nvidiactl", "/dev/nvidia[0-9]*")
MODESET = "/dev/nvidia-modeset"
# Everything of a GPU that this host may have, those first that compute.
NODES = (
    "/dev/nvidia[0-9]*", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/dxg", "/dev/kfd",
    "/dev/dri/renderD[0-9]*", *_TEGRA, "/dev/nvidia-caps/nvidia-cap[0-9]*", MODESET, "/dev/dri/card[0-9]*",
    "/dev/accel/accel[0-9]*", "/dev/nvidia-caps-imex-channels/channel[0-9]*", "/dev/nvidia-fs[0-9]*",
    "/dev/gdrdrv", "/dev/infiniband/*", "/dev/nvidia-nvswitch*", "/dev/nvidia-nvlink*", "/dev/nvidia-vgpu*",
    "/dev/vfio/*", "/dev/vfio/devices/*", "/dev/tegra_dc_*",
)  # fmt: skip
MAX_OF_A_KIND = 32
_RENDER = "/dev/dri/renderD"
_HOST = Places()


class Present(NamedTuple):
    """What a policy comes to on this host.

    host: the first vendor that the host has, in or out of the policy, "" for none. missing: selectors that
    name no GPU here, so that the launch is refused. shown: nodes that must be there; other: those that must
    not. computing: `picked` with each CDI device as the GPUs that it is, where that is known.
    """

    host: str
    picked: tuple[Picked, ...]
    missing: tuple[str, ...]
    shown: tuple[str, ...]
    other: tuple[str, ...]
    computing: tuple[Picked, ...]

    @property
    def by_library(self) -> dict[str, list[Picked]]:
        """What was picked, by the vendor whose library computes with it."""
        found: dict[str, list[Picked]] = {}
        for one in self.computing:
            found.setdefault(_library_of(one.gpu), []).append(one)
        return found


def present(params: Mapping[str, Any], places: Places = _HOST) -> Present:
    """`params`: gpu (none, auto, required), vendors, select, profile, allowed: nodes named one by one."""
    known = _map(places)
    here = [vendor for vendor in ORDER if _is_here(places, vendor, known)]
    wanted = params.get("gpu", "none") != "none"
    declared = [vendor for vendor in here if wanted and vendor in params.get("vendors", ())]
    select = params.get("select", "all")
    looked_at = declared if beyond_indices(select) else declared[:1]
    gpus = [one for vendor in looked_at for one in _gpus(places, vendor, known)]
    picked, missing = pick(gpus, select, declared[0]) if declared else ((), ())
    bound = _bound(places, picked, graphics=params.get("profile") == "graphics")
    found = list(_nodes(places, NODES))
    granted = {*bound, *params.get("allowed", ())}
    more = sorted(node for node in bound - {*found} if files.is_character_device(places.under(node)))
    return Present(
        next((vendor for vendor in here if vendor != CDI), ""), picked, missing,
        (*(node for node in found if node in granted), *more),
        tuple(node for node in found if node not in granted),
        resolved(picked, _library_of, lambda vendor: _gpus(places, vendor, known)),
    )  # fmt: skip


def _map(places: Places) -> GpuMap:
    """What the launcher is told of MIG and CDI; nothing where there is no map."""
    try:
        with open(places.under(paths.GPU_MAP), "rb") as file:
            return gpu_map.decode(file.read())
    except (OSError, MapInvalid):
        return GpuMap()


def _is_here(places: Places, vendor: str, known: GpuMap) -> bool:
    if vendor == "jetson":
        return others.is_jetson(places)
    if vendor == "intel":
        return any(one.vendor == pci.INTEL and one.render for one in pci.displays(places))
    if vendor == CDI:
        return any(isinstance(entry, Device) for entry in known.devices)
    node = {"wsl": others.DXG, "nvidia": nvidia.CONTROL, "amd": others.KFD}[vendor]
    told = vendor == "nvidia" and os.path.isdir(places.under(nvidia.PROC))
    return told or files.is_character_device(places.under(node))


def _gpus(places: Places, vendor: str, known: GpuMap) -> list[Picked]:
    """All of this vendor that its driver has, whole; nothing is opened to find out more."""
    if vendor == CDI:
        entries = [entry for entry in known.devices if isinstance(entry, Device)]
        return [Picked(_of_cdi(entry)) for entry in entries]
    detect = {
        "nvidia": nvidia.gpus, "amd": others.amd, "intel": others.intel,
        "wsl": others.wsl, "jetson": others.jetson,
    }  # fmt: skip
    found = detect[vendor](places, lambda _paths: {})
    uuids = {(mig.pci, mig.gi, mig.ci): mig.uuid for mig in known.mig}
    return [Picked(gpu, tuple(_instances(gpu, uuids))) for gpu in found if _has_driver(gpu)]


def _instances(gpu: Gpu, uuids: Mapping[tuple[str, int, int], str]) -> Iterator[Instance]:
    for mig in gpu.mig:
        place = (gpu.pci, mig.gpu_instance, mig.compute_instance)
        yield Instance(uuids.get(place, ""), tuple(mig.nodes))


def _of_cdi(device: Device) -> Gpu:
    nodes = [node.path for node in device.nodes]
    return Gpu(CDI, device.name, device.name, "", None, "", nodes, "", "", "", [])


def _has_driver(gpu: Gpu) -> bool:
    """One that is on the bus and that no driver, or another one, has shows no node of its own."""
    own = gpu.minor is not None or any(node.startswith(_RENDER) for node in gpu.nodes)
    return own or not gpu.pci


def _library_of(gpu: Gpu) -> str:
    """Of a CDI device its nodes say whose it is."""
    if gpu.vendor != CDI:
        return gpu.vendor
    starts = {"/dev/nvmap": "jetson", "/dev/nvidia": "nvidia", others.DXG: "wsl", others.KFD: "amd"}
    of = (vendor for start, vendor in starts.items() if any(node.startswith(start) for node in gpu.nodes))
    return next(of, "intel")


def _bound(places: Places, picked: Sequence[Picked], *, graphics: bool) -> set[str]:
    """Nodes that the launcher binds if they exist."""
    bound = {node for one in picked for node in one.nodes}
    if any(one.gpu.vendor == "jetson" for one in picked):
        bound |= {*_nodes(places, JETSON)}
    drawing = [one.gpu.pci for one in picked if graphics and one.gpu.vendor == "nvidia"]
    for display in pci.displays(places) if drawing else ():
        if any(address and same_address(address, display.address) for address in drawing):
            bound |= {*display.render}
    return bound | ({MODESET} if drawing else set())


def _nodes(places: Places, patterns: Sequence[str]) -> Iterator[str]:
    """Character devices themselves, no links to them; of each kind a bounded number."""
    for pattern in patterns:
        found = [path for path in sorted(glob.glob(places.under(pattern))) if files.is_character_device(path)]
        yield from (path[len(places.root) :] for path in found[:MAX_OF_A_KIND])
