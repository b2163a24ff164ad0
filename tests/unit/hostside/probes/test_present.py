"""Which GPUs a policy gives to a sandbox on a host, and which nodes it must not see: on planted trees."""

from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import gpu_map, paths
from fleetbox.hostside.gpu_map import GpuMap
from fleetbox.hostside.probes.gpu.present import Present, present
from tests.unit.hostside.test_gpu import Host, exclude

EVERY = ["nvidia", "amd", "intel", "wsl"]
CONTROL = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
A, B = "0000:01:00.0", "0000:41:00.0"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def two(host: Host) -> Host:
    """Two of NVIDIA's whose minors are not in PCI order, and what lies beside them."""
    host.nvidia(A, 1)
    host.nvidia(B, 0)
    for number, name in enumerate(
        ["nvidia-modeset", "nvidia-caps/nvidia-cap1", "nvidia-caps/nvidia-cap2", "nvidia-fs0", "gdrdrv",
         "nvidia-caps-imex-channels/channel0", "infiniband/uverbs0", "nvidia-nvswitch0", "nvidia-vgpu0",
         "vfio/vfio", "accel/accel0", "dri/card0", "dri/renderD128", "dri/renderD129"]
    ):  # fmt: skip
        host.node(f"/dev/{name}", 500, number)
    for address, render in ((A, 128), (B, 129)):
        host.plant(f"/sys/bus/pci/devices/{address}/drm/renderD{render}/dev")
    return host


def asked(host: Host, **params: Any) -> Present:
    return present({"gpu": "auto", "vendors": EVERY, **params}, host.places)


def test_all_gpus_of_the_first_vendor_and_nothing_beside_them(two: Host) -> None:
    found = asked(two)
    assert list(found.by_library) == ["nvidia"]
    assert set(found.shown) == {"/dev/nvidia0", "/dev/nvidia1", *CONTROL}
    assert len(found.other) == 14


def test_without_a_gpu_everything_is_to_be_hidden(two: Host) -> None:
    for found in (asked(two, gpu="none"), asked(two, vendors=["amd", "intel"]), present({}, two.places)):
        assert (found.picked, found.shown) == ((), ())
        assert len(found.other) == 19
        assert found.host == "nvidia"


@pytest.mark.parametrize(
    ("select", "node"),
    [
        (["0"], "/dev/nvidia1"),
        (["1"], "/dev/nvidia0"),
        ([A], "/dev/nvidia1"),
        (["41:00.0"], "/dev/nvidia0"),
        (["00000000:41:00.0"], "/dev/nvidia0"),
        (["GPU-5A1B2C3D-0000-1111-2222-333344440001"], "/dev/nvidia1"),
        (["0", A], "/dev/nvidia1"),
    ],
)
def test_a_selection_is_by_place_on_the_bus_by_address_or_by_uuid(
    two: Host, select: list[str], node: str
) -> None:
    found = asked(two, select=select)
    assert set(found.shown) == {node, *CONTROL}
    assert not found.missing
    assert ({"/dev/nvidia0", "/dev/nvidia1"} - {node}) < set(found.other)


@pytest.mark.parametrize("select", ["2", "GPU-00000000-0000-0000-0000-000000000000", "0001:01:00.0"])
def test_a_selector_that_names_nothing_is_told(two: Host, select: str) -> None:
    assert asked(two, select=["0", select]).missing == (select,)


def test_graphics_adds_the_modeset_and_the_render_nodes_of_the_selected_gpu_alone(two: Host) -> None:
    found = asked(two, select=["0"], profile="graphics")
    extra = {"/dev/nvidia-modeset", "/dev/dri/renderD128"}
    assert set(found.shown) == {"/dev/nvidia1", *CONTROL, *extra}
    assert "/dev/dri/renderD129" in found.other


def test_what_a_policy_names_is_shown_whoever_s_it_is(two: Host) -> None:
    found = asked(two, gpu="none", allowed=["/dev/dri/card0"])
    assert found.shown == ("/dev/dri/card0",)


def test_a_gpu_that_another_driver_has_is_neither_counted_nor_shown(two: Host) -> None:
    two.pci("0000:00:01.0", "0x10de", "vfio-pci", kind="0x030200")
    assert [one.gpu.pci for one in asked(two).picked] == [A, B]
    assert set(asked(two, select=["0"]).shown) == {"/dev/nvidia1", *CONTROL}


def test_a_gpu_that_the_driver_is_told_to_leave_alone_is_neither_counted_nor_shown(two: Host) -> None:
    exclude(two, A)
    assert [one.gpu.pci for one in asked(two).picked] == [B]
    found = asked(two, select=["0"])
    assert set(found.shown) == {"/dev/nvidia0", *CONTROL}
    assert "/dev/nvidia1" in found.other


def mig(host: Host) -> None:
    """One instance of the GPU with minor 1."""
    lines = "config 1\nmonitor 2\ngpu1/gi1/access 147\ngpu1/gi1/ci0/access 148\n"
    host.plant("/proc/driver/nvidia-caps/mig-minors", lines)
    host.plant("/proc/driver/nvidia/capabilities/gpu1/mig/gi1/ci0/access")
    for minor in (147, 148):
        host.node(f"/dev/nvidia-caps/nvidia-cap{minor}", 501, minor, 0o444)


def test_a_whole_gpu_comes_with_the_rights_to_its_instances_and_the_configuration_never(two: Host) -> None:
    mig(two)
    rights = {"/dev/nvidia-caps/nvidia-cap147", "/dev/nvidia-caps/nvidia-cap148"}
    assert set(asked(two, select=["0"]).shown) == {"/dev/nvidia1", *CONTROL, *rights}
    found = asked(two, select=["1"])
    assert rights | {"/dev/nvidia-caps/nvidia-cap1", "/dev/nvidia-caps/nvidia-cap2"} < set(found.other)


def test_an_instance_comes_with_its_gpu_and_its_own_two_rights(two: Host) -> None:
    mig(two)
    uuid = "MIG-6f3b2d6a-1111-2222-3333-444455556666"
    assert asked(two, select=[uuid]).missing == (uuid,)
    write_map(two, GpuMap(mig=(gpu_map.Mig(uuid, A, 1, 0),)))
    found = asked(two, select=[uuid])
    rights = {"/dev/nvidia-caps/nvidia-cap147", "/dev/nvidia-caps/nvidia-cap148"}
    assert set(found.shown) == {"/dev/nvidia1", *CONTROL, *rights}
    assert [instance.uuid for one in found.picked for instance in one.instances] == [uuid]
    assert not found.picked[0].whole
    assert asked(two, select=["0", uuid]).picked[0].whole


def write_map(host: Host, content: GpuMap) -> None:
    """What the launcher is told."""
    path = Path(host.places.under(paths.GPU_MAP))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gpu_map.encode(content))


def test_devices_of_cdi_are_what_the_map_says_and_come_last(host: Host) -> None:
    host.node("/dev/nvidia0", 195, 0)
    host.node("/dev/accel/accel0", 261, 0)
    names = [("nvidia.com/gpu=0", "/dev/nvidia0"), ("x.org/npu=1", "/dev/accel/accel0")]
    devices = [gpu_map.Device(name, (gpu_map.Node(path, path, None, None),)) for name, path in names]
    write_map(host, GpuMap(devices=tuple(devices)))
    assert asked(host).shown == ()
    every = asked(host, vendors=[*EVERY, "cdi"])
    assert set(every.shown) == {"/dev/nvidia0", "/dev/accel/accel0"}
    assert list(every.by_library) == ["nvidia", "intel"]
    one = asked(host, vendors=["cdi"], select=["nvidia.com/gpu=0"])
    assert (one.shown, one.other) == (("/dev/nvidia0",), ("/dev/accel/accel0",))
    assert asked(host, vendors=["cdi"], select=["0"]).missing == ("0",)


def cdi(name: str, *nodes: str) -> gpu_map.Device:
    return gpu_map.Device(name, tuple(gpu_map.Node(path, path, None, None) for path in nodes))


def test_a_cdi_device_computes_as_the_gpus_that_its_nodes_are(two: Host) -> None:
    """By the minor, which is no index; two names of one GPU are one."""
    devices = (
        cdi("nvidia.com/gpu=0", *CONTROL, "/dev/nvidia1", "/dev/dri/renderD128"),
        cdi("nvidia.com/gpu=GPU-x", *CONTROL, "/dev/nvidia1"),
        cdi("nvidia.com/gpu=all", *CONTROL, "/dev/nvidia0", "/dev/nvidia1"),
        cdi("nvidia.com/gpu=gone", "/dev/nvidia1", "/dev/nvidia7"),
        cdi("nvidia.com/gpu=none", *CONTROL),
    )
    write_map(two, GpuMap(devices=devices))

    def computing(*names: str) -> list[tuple[str, str]]:
        found = asked(two, vendors=["cdi"], select=[f"nvidia.com/gpu={name}" for name in names])
        [every] = found.by_library.values()
        return [(one.gpu.vendor, one.gpu.pci or one.gpu.uuid) for one in every]

    assert computing("0") == computing("0", "GPU-x") == [("nvidia", A)]
    assert computing("all") == [("nvidia", A), ("nvidia", B)]
    for unknown in ("gone", "none"):
        assert (
            present({"gpu": "auto", "vendors": ["cdi"], "select": [f"nvidia.com/gpu={unknown}"]}, two.places)
            .computing[0]
            .gpu.vendor
            == "cdi"
        )


def test_a_cdi_device_of_an_instance_computes_as_that_instance_alone(two: Host) -> None:
    mig(two)
    rights = ("/dev/nvidia-caps/nvidia-cap147", "/dev/nvidia-caps/nvidia-cap148")
    uuid = "MIG-6f3b2d6a-1111-2222-3333-444455556666"
    devices = (cdi("nvidia.com/gpu=1:0", "/dev/nvidia1", *rights), cdi("nvidia.com/gpu=1", "/dev/nvidia1"))
    write_map(two, GpuMap(mig=(gpu_map.Mig(uuid, A, 1, 0),), devices=devices))
    for name, uuids in (("1:0", [uuid]), ("1", [])):
        [one] = asked(two, vendors=["cdi"], select=[f"nvidia.com/gpu={name}"]).computing
        assert (one.gpu.pci, [instance.uuid for instance in one.instances]) == (A, uuids)


def test_a_cdi_device_of_another_vendor_is_known_by_its_render_node(host: Host) -> None:
    for number in (128, 129):
        host.pci(f"0000:{number - 100}:00.0", "0x1002", "amdgpu", render=f"renderD{number}")
        host.node(f"/dev/dri/renderD{number}", 226, number)
    host.node("/dev/kfd", 240, 0)
    write_map(host, GpuMap(devices=(cdi("amd.com/gpu=1", "/dev/kfd", "/dev/dri/renderD129"),)))
    [one] = asked(host, vendors=["cdi"], select=["amd.com/gpu=1"]).computing
    assert (one.gpu.vendor, one.gpu.pci) == ("amd", "0000:29:00.0")


def test_what_no_index_can_name_may_be_another_vendor_s(two: Host) -> None:
    two.pci("0000:c3:00.0", "0x1002", "amdgpu", render="renderD140")
    for number, name in enumerate(["kfd", "dri/renderD140"]):
        two.node(f"/dev/{name}", 502, number)
    found = asked(two, select=["c3:00.0", "1"])
    assert {"/dev/kfd", "/dev/dri/renderD140", "/dev/nvidia0"} < set(found.shown)
    assert list(found.by_library) == ["nvidia", "amd"]


def test_an_address_that_several_have_names_none_of_them(two: Host) -> None:
    two.nvidia("0001:01:00.0", 2)
    assert asked(two, select=["01:00.0"]).missing == ("01:00.0",)


def test_each_vendor_has_its_nodes_and_the_first_that_is_named_wins(host: Host) -> None:
    host.pci("0000:03:00.0", "0x1002", "amdgpu", render="renderD128")
    host.pci("0000:00:02.0", "0x8086", "i915", render="renderD129")
    for number, name in enumerate(["kfd", "dri/renderD128", "dri/renderD129", "dri/card0"]):
        host.node(f"/dev/{name}", 500, number)
    amd, intel = asked(host), asked(host, vendors=["intel", "wsl"])
    assert (list(amd.by_library), set(amd.shown)) == (["amd"], {"/dev/kfd", "/dev/dri/renderD128"})
    assert (list(intel.by_library), intel.shown) == (["intel"], ("/dev/dri/renderD129",))
    assert amd.host == intel.host == "amd"
    host.node("/dev/dxg", 10, 125)
    assert asked(host).shown == ("/dev/dxg",)
    assert asked(host, select=["0"]).missing == ("0",)


def test_a_jetson_s_nodes_are_given_only_where_it_is_named(host: Host) -> None:
    host.plant("/etc/nv_tegra_release", "# R36 (release)\n")
    nodes = ["nvmap", "nvhost-gpu", "nvgpu/igpu0/ctrl", "nvsciipc", "host1x-fence", "dri/renderD128"]
    for number, name in enumerate(nodes):
        host.node(f"/dev/{name}", 500, number)
    given = asked(host, vendors=["jetson", *EVERY])
    assert set(given.shown) == {f"/dev/{name}" for name in nodes[:-1]}
    assert asked(host).shown == ()


def test_a_jetson_with_a_newer_driver_has_nodes_of_the_desktop_s_too(host: Host) -> None:
    host.plant("/etc/nv_tegra_release", "# R38 (release)\n")
    names = ["nvmap", "nvidiactl", "nvidia0"]
    for number, name in enumerate(names):
        host.node(f"/dev/{name}", 500, number)
    nodes = [f"/dev/{name}" for name in names]
    assert set(asked(host, vendors=["jetson"]).shown) == {*nodes}
    assert sorted(asked(host, gpu="none").other) == sorted(nodes), "each once"
    write_map(host, GpuMap(devices=(cdi("nvidia.com/gpu=all", *nodes),)))
    found = asked(host, vendors=["cdi"])
    assert list(found.by_library) == ["jetson"]


def test_a_kind_of_which_there_are_thousands_is_sampled(host: Host) -> None:
    for number in range(40):
        host.node(f"/dev/nvidia-caps-imex-channels/channel{number}", 500, number)
    assert len(asked(host).other) == 32
