"""GPUs of every vendor in every state, on planted trees: no real driver was seen (docs/verified-on.md)."""

import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from fleetbox.facts import GpuDevice
from fleetbox.hostside.detect import gpu
from fleetbox.hostside.detect.attempt import Attempt, Prober
from fleetbox.hostside.detect.gpu.remedies import remedy
from fleetbox.hostside.gpu_map import GpuMap, Mig, encode
from fleetbox.hostside.paths import Places

INFORMATION = """\
Model: \t\t NVIDIA A100-SXM4-80GB
IRQ:   \t\t 42
GPU UUID: \t GPU-5a1b2c3d-0000-1111-2222-33334444{minor:04}
Bus Location: \t {bus}
Device Minor: \t {minor}
"""
RELEASE = "6.8.0-test"
LIBRARIES = ("libcuda.so.1", "libhsa-runtime64.so.1", "libze_loader.so.1", "libdxcore.so")
Tree = dict[str, str]
Nodes = dict[str, tuple[int, int]]
CONTROL: Nodes = {
    "/dev/nvidiactl": (195, 255),
    "/dev/nvidia-uvm": (510, 0),
    "/dev/nvidia-uvm-tools": (510, 1),
}


class Host:
    """A tree that stands for a host's /proc, /sys, /dev and /usr."""

    def __init__(self, root: Path) -> None:
        self.places = Places(str(root))
        self.answers: dict[str, str] = {}
        self.plant("/proc/sys/kernel/osrelease", RELEASE)
        self.plant("/etc/ld.so.cache", "glibc\0" + "".join(f"{name}\0" for name in LIBRARIES))

    def plant(self, path: str, text: str = "") -> None:
        file = Path(self.places.under(path))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def node(self, path: str, major: int, minor: int, mode: int = 0o666) -> None:
        node = Path(self.places.under(path))
        node.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.mknod(node, stat.S_IFCHR | mode, os.makedev(major, minor))
        except PermissionError:
            pytest.skip("needs root to make device nodes")
        node.chmod(mode)

    def remove(self, path: str) -> None:
        Path(self.places.under(path)).unlink()

    def pci(
        self, address: str, vendor: str, driver: str, *, kind: str = "0x030000", render: str = ""
    ) -> None:
        where = f"/sys/bus/pci/devices/{address}"
        for name, text in (("vendor", vendor), ("class", kind), ("device", "0x744c")):
            self.plant(f"{where}/{name}", text + "\n")
        if driver:
            Path(self.places.under(f"{where}/driver")).symlink_to(f"../../../bus/pci/drivers/{driver}")
        if render:
            self.plant(f"{where}/drm/{render}/uevent")
            self.plant(f"{where}/drm/card0/uevent")

    def nvidia(self, address: str, minor: int) -> None:
        """One that works."""
        self.plant(
            f"/proc/driver/nvidia/gpus/{address}/information", INFORMATION.format(bus=address, minor=minor)
        )
        self.plant("/sys/module/nvidia/version", "570.86.15\n")
        self.pci(address, "0x10de", "nvidia", kind="0x030200")
        self.node(f"/dev/nvidia{minor}", 195, minor)
        for path, numbers in CONTROL.items():
            if not Path(self.places.under(path)).exists():
                self.node(path, *numbers)

    def opens(self, paths: Sequence[str]) -> Mapping[str, str]:
        return {path: self.answers.get("/dev" + path.rpartition("/dev")[2], "") for path in paths}

    def detect(self, wsl_version: int = 0) -> dict[str, Any]:
        return gpu.detect(self.places, wsl_version, self.opens)

    def states(self, wsl_version: int = 0) -> list[tuple[str, str]]:
        return [(device["health"], device["means"]) for device in self.detect(wsl_version)["devices"]]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_machine_without_any_has_none(host: Host) -> None:
    host.pci("0000:00:02.0", "0x1234", "bochs-drm")
    host.pci("0000:00:03.0", "0x10de", "snd_hda_intel", kind="0x040300")
    assert host.detect() == {"kind": "none", "driver": None, "devices": [], "nodes": [], "advisories": []}


def test_eight_come_in_pci_order_with_their_own_minors_and_nodes(host: Host) -> None:
    addresses = [f"0000:{bus:02x}:00.0" for bus in (0x01, 0x41, 0x81, 0xC1, 0xE1, 0x21, 0x61, 0xA1)]
    for minor, address in enumerate(addresses):
        host.nvidia(address, minor)
    host.node("/dev/nvidia-modeset", 195, 254)
    host.plant("/dev/nvidia9", "a file, not a node")
    found = host.detect()
    assert (found["kind"], found["driver"]) == ("nvidia", "570.86.15")
    assert [device["pci"] for device in found["devices"]] == sorted(addresses)
    assert [device["minor"] for device in found["devices"]] == [0, 5, 1, 6, 2, 7, 3, 4]
    assert {device["health"] for device in found["devices"]} == {"ok"}
    assert found["devices"][1]["uuid"] == "GPU-5a1b2c3d-0000-1111-2222-333344440005"
    assert found["devices"][1]["nodes"] == ["/dev/nvidia5", *CONTROL]
    assert found["nodes"] == sorted([*CONTROL, *(f"/dev/nvidia{minor}" for minor in range(8))])


def test_what_is_known_against_the_driver_is_said_once_and_only_of_one_that_runs(host: Host) -> None:
    host.nvidia("0000:01:00.0", 0)
    host.nvidia("0000:41:00.0", 1)
    host.plant("/sys/module/nvidia/version", "570.172.08\n")
    [known] = host.detect()["advisories"]
    assert (known["driver"], known["fixed"]) == ("570.172.08", "570.195.03")
    host.plant("/sys/module/nvidia/version", "\n")
    assert [known["advisory"][:9] for known in host.detect()["advisories"]] == ["not known"]


def test_of_a_driver_that_does_not_run_nothing_is_said(host: Host) -> None:
    host.pci("0000:01:00.0", "0x10de", "vfio-pci")
    host.pci("0000:02:00.0", "0x1002", "amdgpu")
    assert host.detect()["advisories"] == []


def take_driver(host: Host, *, installed: bool, nodes: bool) -> None:
    """As after a kernel update or `rmmod`: the driver shows nothing any more."""
    for path in ("/proc/driver/nvidia/gpus/0000:01:00.0/information", "/sys/module/nvidia/version"):
        host.remove(path)
    for directory in ("/proc/driver/nvidia/gpus/0000:01:00.0", "/sys/module/nvidia"):
        Path(host.places.under(directory)).rmdir()
    Path(host.places.under("/sys/bus/pci/devices/0000:01:00.0/driver")).unlink()
    for path in () if nodes else (*CONTROL, "/dev/nvidia0"):
        host.remove(path)
    if installed:
        dep = "updates/dkms/nvidia.ko.zst:\nkernel/drivers/gpu/drm/xe/xe.ko:\n"
        host.plant(f"/lib/modules/{RELEASE}/modules.dep", dep)


def refuse(path: str, answer: str) -> Callable[[Host], None]:
    return lambda host: host.answers.update({path: answer})


def without_libraries(host: Host) -> None:
    host.plant("/etc/ld.so.cache", "glibc\0")


NVIDIA: dict[str, tuple[Callable[[Host], None], tuple[str, str]]] = {
    "well": (lambda _: None, ("ok", "")),
    "never installed": (
        lambda host: take_driver(host, installed=False, nodes=False),
        ("no driver", "no module nvidia for this kernel"),
    ),
    "not loaded": (
        lambda host: take_driver(host, installed=True, nodes=False),
        ("module not loaded", "nvidia is installed for this kernel"),
    ),
    "unloaded": (
        lambda host: take_driver(host, installed=True, nodes=True),
        ("node without driver", f"{', '.join(CONTROL)}: left over, the module nvidia is not loaded"),
    ),
    "no control node": (
        lambda host: host.remove("/dev/nvidiactl"),
        ("node missing", "/dev/nvidiactl"),
    ),
    "no uvm": (
        lambda host: [host.remove(path) for path in list(CONTROL)[1:]] and None,
        ("node missing", "/dev/nvidia-uvm, /dev/nvidia-uvm-tools"),
    ),
    "no node of its own": (lambda host: host.remove("/dev/nvidia0"), ("node missing", "/dev/nvidia0")),
    "ENXIO": (refuse("/dev/nvidiactl", "ENXIO"), ("node without driver", "/dev/nvidiactl: ENXIO")),
    "ENODEV": (refuse("/dev/nvidia-uvm", "ENODEV"), ("node without driver", "/dev/nvidia-uvm: ENODEV")),
    "EACCES": (refuse("/dev/nvidiactl", "EACCES"), ("node unreadable", "/dev/nvidiactl: EACCES")),
    "EIO": (refuse("/dev/nvidia-uvm", "EIO"), ("node unreadable", "/dev/nvidia-uvm: EIO")),
    "no libcuda": (without_libraries, ("library missing", "libcuda.so.1")),
}


@pytest.mark.parametrize("state", NVIDIA)
def test_each_state_of_an_nvidia_gpu_is_told_apart(
    host: Host, state: str, record_property: Callable[[str, object], None]
) -> None:
    host.nvidia("0000:01:00.0", 0)
    break_it, expected = NVIDIA[state]
    record_property("gpu", f"nvidia   doctor, {state:20} {expected[0]}: {expected[1]}")
    break_it(host)
    assert host.states() == [expected]


def test_every_state_has_a_remedy_for_every_vendor() -> None:
    states = get_args(GpuDevice.model_fields["health"].annotation)
    vendors = get_args(GpuDevice.model_fields["vendor"].annotation)
    assert {state for _, (state, _) in NVIDIA.values()} == set(states)
    for vendor in vendors:
        assert remedy(vendor, "ok") == ""
        assert all(remedy(vendor, state) for state in states if state != "ok")


def test_what_could_not_be_tried_does_not_count_as_well(host: Host) -> None:
    host.nvidia("0000:01:00.0", 0)
    [device] = gpu.detect(host.places, 0, lambda _: {})["devices"]
    assert (device["health"], device["means"]) == ("node unreadable", "/dev/nvidiactl: could not be tried")


def test_the_group_that_would_help_is_named(host: Host) -> None:
    host.pci("0000:03:00.0", "0x1002", "amdgpu", render="renderD128")
    host.node("/dev/dri/renderD128", 226, 128)
    host.node("/dev/kfd", 240, 0, 0o660)
    os.chown(host.places.under("/dev/kfd"), 0, 44)
    host.answers = {"/dev/kfd": "EACCES"}
    assert host.states() == [("node unreadable", "/dev/kfd: EACCES, only for group video")]


def test_a_gpu_that_a_virtual_machine_has_is_no_drivers(host: Host) -> None:
    host.nvidia("0000:01:00.0", 0)
    host.pci("0000:02:00.0", "0x10de", "vfio-pci")
    assert host.states() == [("ok", ""), ("no driver", "nvidia is loaded, and vfio-pci has this one")]
    assert host.detect()["devices"][1]["model"] == "PCI device 744c"


def exclude(host: Host, address: str, answer: str = "Yes") -> None:
    """As the driver's option NVreg_ExcludedGpus does."""
    path = Path(host.places.under(f"/proc/driver/nvidia/gpus/{address}/information"))
    path.write_text(path.read_text() + f"GPU Excluded:\t {answer}\n")


def test_a_gpu_that_the_driver_is_told_to_leave_alone_has_no_node_of_its_own(host: Host) -> None:
    host.nvidia("0000:01:00.0", 0)
    host.nvidia("0000:02:00.0", 1)
    exclude(host, "0000:01:00.0")
    exclude(host, "0000:02:00.0", "No")
    first, second = host.detect()["devices"]
    assert (first["health"], first["means"]) == ("no driver", "excluded by the driver's options")
    assert (first["minor"], first["nodes"], first["uuid"][-1]) == (None, list(CONTROL), "0")
    assert "NVreg_ExcludedGpus" in first["remedy"]
    assert (second["health"], second["minor"]) == ("ok", 1)
    assert "/dev/nvidia0" not in host.detect()["nodes"]
    GpuDevice.model_validate(first)


def test_nodes_without_a_driver_or_a_bus_are_still_one(host: Host) -> None:
    host.node("/dev/nvidiactl", 195, 255)
    host.node("/dev/nvidia3", 195, 3)
    [device] = host.detect()["devices"]
    assert (device["vendor"], device["health"]) == ("nvidia", "node without driver")
    assert host.detect()["nodes"] == ["/dev/nvidia3", "/dev/nvidiactl"]


def test_mig_instances_that_exist_come_with_their_two_rights(host: Host) -> None:
    host.nvidia("0000:01:00.0", 0)
    numbers = "config 1\nmonitor 2\ngpu0/gi1/access 12\ngpu0/gi1/ci0/access 13\ngpu0/gi2/access 21\n"
    host.plant(
        "/proc/driver/nvidia-caps/mig-minors", numbers + "gpu0/gi2/ci0/access 22\ngpu1/gi1/access 147\n"
    )
    host.plant("/proc/driver/nvidia/capabilities/gpu0/mig/gi1/ci0/access", "DeviceFileMinor: 13\n")
    [device] = host.detect()["devices"]
    nodes = ["/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia-caps/nvidia-cap13"]
    assert device["mig"] == [{"gpu_instance": 1, "compute_instance": 0, "nodes": nodes, "uuid": ""}]


def test_the_uuids_of_mig_instances_are_those_of_the_gpu_map(host: Host) -> None:
    host.nvidia("0000:01:00.0", 0)
    host.plant("/proc/driver/nvidia-caps/mig-minors", "gpu0/gi1/access 12\ngpu0/gi1/ci0/access 13\n")
    host.plant("/proc/driver/nvidia/capabilities/gpu0/mig/gi1/ci0/access", "DeviceFileMinor: 13\n")
    of_another = GpuMap((Mig("MIG-other", "0000:02:00.0", 1, 0), Mig("MIG-gone", "0000:01:00.0", 1, 1)))
    for known, uuid in ((of_another, ""), (GpuMap((Mig("MIG-this", "0000:01:00.0", 1, 0),)), "MIG-this")):
        host.plant("/var/lib/fleetbox/gpu/map", encode(known).decode())
        [instance] = host.detect()["devices"][0]["mig"]
        assert instance["uuid"] == uuid
        GpuDevice.model_validate(host.detect()["devices"][0])
    host.plant("/var/lib/fleetbox/gpu/map", "damaged")
    assert host.detect()["devices"][0]["mig"][0]["uuid"] == ""


def test_broken_driver_words_are_no_crash(host: Host) -> None:
    host.plant("/proc/driver/nvidia/gpus/x/information", "Device Minor: ²\nno colon\nModel: " + "m" * 500)
    host.plant("/proc/driver/nvidia-caps/mig-minors", "gpu0/gi9999999/access 1\n\0\ngpu0/gi0/ci0/access\n")
    [device] = host.detect()["devices"]
    assert (device["minor"], len(device["model"]), device["mig"]) == (None, 100, [])


def test_wsl2_has_dxg_whatever_else_is_there(host: Host) -> None:
    host.node("/dev/dxg", 10, 125)
    host.node("/dev/nvidiactl", 195, 255)
    host.plant("/usr/lib/wsl/drivers/nvfrwi.inf_amd64_63d60f682af8cba2/libcuda.so.1.1")
    found = host.detect(2)
    assert (found["kind"], found["nodes"]) == ("wsl", ["/dev/dxg"])
    [device] = found["devices"]
    assert (device["vendor"], device["driver"]) == ("wsl", "nvfrwi.inf_amd64_63d60f682af8cba2")
    assert host.states(2) == [("ok", "")]


@pytest.mark.parametrize(
    ("break_it", "state"),
    [
        (refuse("/dev/dxg", "EACCES"), ("node unreadable", "/dev/dxg: EACCES")),
        (refuse("/dev/dxg", "ENXIO"), ("node without driver", "/dev/dxg: ENXIO")),
        (without_libraries, ("library missing", "libdxcore.so")),
    ],
)
def test_each_state_of_a_gpu_in_wsl2_is_told_apart(
    host: Host,
    break_it: Callable[[Host], None],
    state: tuple[str, str],
    record_property: Callable[[str, object], None],
) -> None:
    record_property("gpu", f"dxg      doctor, {'':20} {state[0]}: {state[1]}")
    host.node("/dev/dxg", 10, 125)
    break_it(host)
    assert host.states(2) == [state]


def test_wsl2_without_dxg_has_no_gpu(host: Host) -> None:
    assert host.detect(2) == {"kind": "none", "driver": None, "devices": [], "nodes": [], "advisories": []}


def test_amd_computes_by_one_node_for_all_and_one_each(host: Host) -> None:
    host.pci("0000:83:00.0", "0x1002", "amdgpu", kind="0x120000", render="renderD129")
    host.pci("0000:03:00.0", "0x1002", "amdgpu", kind="0x038000", render="renderD128")
    host.plant("/sys/bus/pci/devices/0000:03:00.0/unique_id", "1f2e3d4c5b6a7988\n")
    host.plant("/sys/bus/pci/devices/0000:03:00.0/product_name", "AMD Instinct MI210\n")
    for number in (128, 129):
        host.node(f"/dev/dri/renderD{number}", 226, number)
    assert host.detect()["kind"] == "none"
    assert host.states() == [("node missing", "/dev/kfd")] * 2
    host.node("/dev/kfd", 240, 0)
    found = host.detect()
    assert found["kind"] == "amd"
    first, second = found["devices"]
    assert (first["model"], first["uuid"]) == ("AMD Instinct MI210", "GPU-1f2e3d4c5b6a7988")
    assert second["nodes"] == ["/dev/kfd", "/dev/dri/renderD129"]
    assert found["nodes"] == ["/dev/dri/renderD128", "/dev/dri/renderD129", "/dev/kfd"]
    assert host.states() == [("ok", "")] * 2
    without_libraries(host)
    assert host.states() == [("library missing", "libhsa-runtime64.so.1")] * 2


def test_intel_is_a_render_node(host: Host) -> None:
    host.pci("0000:00:02.0", "0x8086", "xe", render="renderD128")
    host.node("/dev/dri/renderD128", 226, 128)
    assert (host.detect()["kind"], host.states()) == ("intel", [("ok", "")])
    without_libraries(host)
    assert host.states() == [("library missing", "libze_intel_gpu.so.1 or libze_loader.so.1")]


def test_a_driver_that_makes_no_render_node_is_not_well(host: Host) -> None:
    host.pci("0000:00:02.0", "0x8086", "i915")
    assert host.states() == [("node missing", "the driver shows none")]


def test_a_tegra_has_nodes_of_its_own(host: Host) -> None:
    host.plant("/sys/devices/soc0/family", "Tegra\n")
    host.plant("/etc/nv_tegra_release", "# R36 (release), REVISION: 3.0\nrest\n")
    host.plant("/proc/device-tree/model", "NVIDIA Jetson AGX Orin\0")
    assert (host.detect()["kind"], host.states()[0][0]) == ("jetson", "no driver")
    host.node("/dev/nvmap", 10, 61)
    host.node("/dev/nvhost-gpu", 506, 1)
    [device] = host.detect()["devices"]
    assert (device["model"], device["driver"]) == ("NVIDIA Jetson AGX Orin", "R36 (release), REVISION: 3.0")
    assert (device["health"], device["nodes"]) == ("ok", ["/dev/nvmap", "/dev/nvhost-gpu"])


def test_gpus_of_several_vendors_are_all_listed(host: Host) -> None:
    host.nvidia("0000:01:00.0", 0)
    host.pci("0000:00:02.0", "0x8086", "i915", render="renderD128")
    host.node("/dev/dri/renderD128", 226, 128)
    found = host.detect()
    assert found["kind"] == "nvidia"
    assert [(device["vendor"], device["health"]) for device in found["devices"]] == [
        ("nvidia", "ok"),
        ("intel", "ok"),
    ]
    assert "/dev/dri/renderD128" not in found["nodes"]


def test_words_of_firmware_are_made_printable(host: Host) -> None:
    host.pci("0000:03:00.0", "0x1002", "amdgpu", render="renderD128")
    host.plant("/sys/bus/pci/devices/0000:03:00.0/product_name", "MI\x1b[31m210\n")
    host.plant("/sys/bus/pci/devices/0000:03:00.0/unique_id", "1f\x00")
    [device] = host.detect()["devices"]
    assert (device["model"], device["uuid"]) == (r"MI\x1b[31m210", r"GPU-1f\x00")
    GpuDevice.model_validate(device)


def test_a_node_that_gpus_share_is_opened_once_however_that_ends(host: Host) -> None:
    for minor, address in enumerate(("0000:01:00.0", "0000:02:00.0", "0000:03:00.0")):
        host.nvidia(address, minor)
    asked: list[list[str]] = []

    class Stuck(Prober):
        def attempt(self, argv: list[str]) -> Attempt:
            asked.append(argv)
            return Attempt(False, "was ended after 5 seconds", stuck=True)

    devices = gpu.detect(host.places, 0, gpu.opened_by(Stuck(None)))["devices"]
    assert [device["means"] for device in devices] == ["/dev/nvidiactl: could not be tried"] * 3
    assert len(asked) == 1


@pytest.fixture
def open_place() -> Iterator[Path]:
    """Where every account can come, and nodes are devices."""
    with tempfile.TemporaryDirectory(prefix="fleetbox-tests-", dir="/var/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        try:
            os.mknod(place / "probe", stat.S_IFCHR, os.makedev(1, 3))
            os.close(os.open(place / "probe", os.O_RDWR))
        except PermissionError:
            pytest.skip("needs root to make device nodes")
        yield place


def test_nodes_are_opened_for_real_by_the_account(open_place: Path) -> None:
    """One with a driver, one of a number that is nobody's, one whose mode keeps the account out, and none."""
    for name, numbers, mode in (("null", (1, 3), 0o666), ("lone", (60, 0), 0o666), ("shut", (1, 3), 0o600)):
        os.mknod(open_place / name, stat.S_IFCHR | mode, os.makedev(*numbers))
        (open_place / name).chmod(mode)
    paths = [str(open_place / name) for name in ("null", "lone", "shut", "absent")]
    answers = gpu.opened_by(Prober(None))(paths)
    assert [answers[path] for path in paths] == ["", "ENXIO", "EACCES", "ENOENT"]
    assert gpu.opened_by(Prober(None))([]) == {}
