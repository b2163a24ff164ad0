"""What a CDI device comes to: exactly this, or a refusal that says why."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetbox.hostside.cdi import spec
from fleetbox.hostside.cdi.fields import SpecInvalid
from fleetbox.hostside.cdi.translate import short, translate
from fleetbox.hostside.gpu_map import Device, Entry, GpuMap, Mount, Node, Refused, Variable, decode, encode

GOOD = Path(__file__).parent / "good"


def fixture(name: str) -> tuple[dict[str, Entry], set[str]]:
    """Every device of a good spec by its short name, and all that was ignored."""
    parsed = spec.parse((GOOD / name).read_bytes(), name)
    made = [translate(parsed.edits, device) for device in parsed.devices]
    return {entry.name.partition("=")[2]: entry for entry, _ in made}, {
        text for _, said in made for text in said
    }


def plain(*paths: str) -> tuple[Node, ...]:
    return tuple(Node(path, path, None, None) for path in paths)


def entry(**edits: object) -> Entry:
    """Of a device that has a harmless node and `edits`."""
    whole = {"deviceNodes": [{"path": "/dev/nvidia0"}], **edits}
    value = {"cdiVersion": "1.1.0", "kind": "a.com/b", "devices": [{"name": "x", "containerEdits": whole}]}
    parsed = spec.parse(json.dumps(value).encode(), "x.json")
    return translate(parsed.edits, parsed.devices[0])[0]


def reason(**edits: object) -> str:
    refused = entry(**edits)
    assert isinstance(refused, Refused), refused
    return refused.reason


UVM = plain("/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidiactl")
CAPS = plain("/dev/nvidia1", "/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia-caps/nvidia-cap13")
NVIDIA_MOUNTS = tuple(
    Mount(path, path)
    for path in (
        "/usr/bin/nvidia-smi",
        "/etc/vulkan/icd.d/nvidia_icd.json",
        "/usr/lib/x86_64-linux-gnu/libcuda.so.580.1",
    )
)


def test_nvidias_devices_are_usable_without_their_screens_and_hooks() -> None:
    found, notes = fixture("nvidia.yaml")
    own = plain("/dev/nvidia0", "/dev/dri/renderD128")
    void = (Variable("NVIDIA_VISIBLE_DEVICES", "void"),)
    mig = "MIG-c7384736-a75d-5afc-978f-d2f1294409fd"
    gpu = "GPU-5a1b2c3d-0000-1111-2222-333344440000"
    assert found == {
        "0": Device("nvidia.com/gpu=0", UVM + own, NVIDIA_MOUNTS, void),
        gpu: Device(f"nvidia.com/gpu={gpu}", UVM + own, NVIDIA_MOUNTS, void),
        "1:0": Device("nvidia.com/gpu=1:0", UVM + CAPS, NVIDIA_MOUNTS, void),
        mig: Device(f"nvidia.com/gpu={mig}", UVM + CAPS, NVIDIA_MOUNTS, void),
        "all": Device("nvidia.com/gpu=all", UVM + own + CAPS, NVIDIA_MOUNTS, void),
    }
    hooks = {
        "create-symlinks",
        "enable-cuda-compat",
        "update-ldcache",
        "disable-device-node-modification",
        "chmod",
    }
    left_out = {"/dev/nvidia-modeset", "/dev/dri/card1"}
    assert notes == {f"hook {name} is not run: a sandbox shows the host's own files" for name in hooks} | {
        f"{node} is left out; a policy that needs it names it in devices.allow" for node in left_out
    } | {"mount /run/nvidia-persistenced/socket is left out: it is not where drivers are installed"}


def test_wsls_only_device_is_usable() -> None:
    found, _ = fixture("wsl.yaml")
    paths = ("/usr/lib/wsl/lib/libdxcore.so", "/usr/lib/wsl/drivers/nvfrwi.inf_amd64_0/libcuda.so.1.1")
    mounts = tuple(Mount(path, path) for path in paths)
    void = (Variable("NVIDIA_VISIBLE_DEVICES", "void"),)
    assert found == {"all": Device("nvidia.com/gpu=all", plain("/dev/dxg"), mounts, void)}


def test_amds_and_intels_devices_are_usable_without_their_screens() -> None:
    found, _ = fixture("amd.json")
    render = Node("/dev/dri/renderD128", "/dev/dri/renderD128", 226, 128)
    assert found == {"0": Device("amd.com/gpu=0", (*plain("/dev/kfd"), render))}
    found, notes = fixture("intel.json")
    name = "0000:03:00.0-0x56a0"
    assert found == {name: Device(f"intel.com/gpu={name}", plain("/dev/dri/renderD129"), groups=(44, 109))}
    assert "/dev/dri/renderD129 is writable, though permissions are r" in notes
    assert "/dev/dri/by-path/pci-0000:03:00.0-render is left out: it only names nodes" in notes


def test_a_devices_own_edits_come_after_the_specs_and_win() -> None:
    found, notes = fixture("everything.json")
    assert found["x"] == Device(
        "vendor.com/dotted.class=x",
        (Node("/dev/accel/accel0", "/dev/accel/accel0", 500, 0), Node("/dev/accel1", "/dev/accel1", 500, 7)),
        (Mount("/opt/vendor", "/opt/vendor"), Mount("/opt/vendor/lib", "/opt/vendor/lib")),
        (Variable("CUDA_TWO", "spec"), Variable("CUDA_ONE", "device"), Variable("HIP_X", "a=b")),
        (44,),
    )
    assert "env OTHER is left out: it is not a variable of GPUs" in notes
    assert "/dev/accel1 is writable, though permissions are none" in notes


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("net", "netDevices is nothing"),
        ("rdt", "intelRdt is nothing"),
        ("hook", "hook /usr/bin/vendor-hook go: a command"),
    ],
)
def test_what_no_sandbox_gives_refuses_its_device_alone(name: str, field: str) -> None:
    refused = fixture("everything.json")[0][name]
    assert isinstance(refused, Refused)
    assert field in refused.reason


NEVER = (
    *(
        "mem",
        "kmem",
        "port",
        "kmsg",
        "sda",
        "sdb1",
        "nvme0n1",
        "loop0",
        "dm-0",
        "mapper/x",
        "uinput",
        "tty1",
        "sg0",
    ),
    *(
        "nvidia-caps/nvidia-cap1",
        "nvidia-caps/nvidia-cap2",
        "nvidia-caps-imex-channels/channel0",
        "nvidia-fs0",
    ),
    *(
        "nvidia-nvswitch0",
        "nvidia-nvswitchctl",
        "nvidia-nvlink",
        "nvidia-vgpu1",
        "gdrdrv",
        "infiniband/uverbs0",
    ),
    *(
        "kvm",
        "vfio/vfio",
        "vfio/12",
        "fuse",
        "input/event0",
        "net/tun",
        "vhost-net",
        "char/1:1",
        "null",
        "tty",
        "fd/3",
        "shm/x",
    ),
    *("ng0n1", "iommu", "userfaultfd", "udmabuf", "dax0.0", "mpt3ctl", "st0", "ipmi0", "nvram", "mei0"),
    *("usbmon0", "megaraid_sas_ioctl_node", "i2c-0", "x", "nvidia", "nvidia0x", "nvidia-uvm-x", "accel/x"),
    *("dri/by-path/x", "nvgpu/igpu0", "nvidia-caps/nvidia-cap02", "nvidia-soc-iommu", "kfd0"),
)


@pytest.mark.parametrize("name", NEVER)
def test_a_node_that_is_no_gpu_refuses_the_device(name: str) -> None:
    why = f"node /dev/{name}: no node of a GPU or an accelerator"
    assert reason(deviceNodes=[{"path": f"/dev/{name}"}]) == why
    assert reason(deviceNodes=[{"path": f"/dev/{name}", "hostPath": f"/dev/{name}"}]) == why


@pytest.mark.parametrize("other", ["/dev/nvidia1", "/dev/sda", "/dev/dri/card0", "/dev/x"])
def test_a_node_under_another_name_refuses_the_device(other: str) -> None:
    for host_path, path in (("/dev/nvidia0", other), (other, "/dev/nvidia0")):
        why = f"node {host_path}: shown as {path}, and a sandbox shows each node in its own place"
        assert reason(deviceNodes=[{"path": path, "hostPath": host_path}]) == why


GIVEN = (
    *("nvidiactl", "nvidia0", "nvidia12", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-caps/nvidia-cap3"),
    *("nvidia-caps/nvidia-cap12", "nvidia-caps/nvidia-cap120", "dri/renderD128", "kfd", "dxg", "nvmap"),
    *(
        "nvhost-gpu",
        "nvhost-ctrl-gpu",
        "nvgpu/igpu0/ctrl",
        "nvsciipc",
        "host1x-fence",
        "accel/accel0",
        "accel0",
    ),
)


@pytest.mark.parametrize("name", GIVEN)
def test_a_node_of_a_gpu_is_given(name: str) -> None:
    found = entry(deviceNodes=[{"path": f"/dev/{name}"}])
    assert isinstance(found, Device)
    assert found.nodes == plain(f"/dev/{name}")


@pytest.mark.parametrize(
    ("node", "why"),
    [
        ({"path": "/dev/x", "type": "b"}, "a block device is a disk"),
        ({"path": "/dev/x", "type": "p"}, "a pipe is no device"),
        ({"path": "/dev"}, "not a plain path below /dev"),
        ({"path": "/dev/"}, "not a plain path below /dev"),
        ({"path": "/dev/../mem"}, "not a plain path below /dev"),
        ({"path": "/dev/./mem"}, "not a plain path below /dev"),
        ({"path": "/dev//mem"}, "not a plain path below /dev"),
        ({"path": "dev/x"}, "not a plain path below /dev"),
        ({"path": "/srv/x"}, "not a plain path below /dev"),
        ({"path": "/dev/x", "hostPath": "/srv/x"}, "not a plain path below /dev"),
        ({"path": "/dev/" + "x" * 256}, "not a plain path below /dev"),
        ({"path": "/dev/dri/card0"}, "nothing is left of it"),
    ],
)
def test_a_node_that_cannot_be_given_refuses_the_device(node: dict[str, str], why: str) -> None:
    assert why in reason(deviceNodes=[node])


@pytest.mark.parametrize(
    ("mount", "why"),
    [
        *(
            ({"hostPath": path, "containerPath": path}, "a place that no CDI spec changes")
            for path in (
                "/",
                "/etc",
                "/root",
                "/root/x",
                "/home",
                "/home/a/b",
                "/proc",
                "/proc/x",
                "/sys/x",
                "/dev/x",
            )
        ),
        ({"hostPath": "/run/docker.sock", "containerPath": "/run/docker.sock"}, "a place that no CDI spec"),
        (
            {"hostPath": "/srv/preload", "containerPath": "/etc/ld.so.preload"},
            "/srv/preload would replace a setting",
        ),
        *(
            (
                {"hostPath": host, "containerPath": path},
                f"shows {host}, and a sandbox shows each file in its own",
            )
            for host, path in (
                ("/usr/lib/a", "/usr/lib/b"),
                ("/srv/x", "/opt/x"),
                ("/nix/store/a", "/usr/bin/a"),
            )
        ),
        ({"hostPath": "/a", "containerPath": "/a", "type": "tmpfs"}, "type tmpfs is not bind"),
        ({"hostPath": "/a/..", "containerPath": "/a"}, "not a plain absolute path, or /a/.. is not"),
        ({"hostPath": "/a", "containerPath": "/b/../etc/x"}, "not a plain absolute path"),
        ({"hostPath": "a", "containerPath": "/b"}, "not a plain absolute path, or a is not"),
        ({"hostPath": "/dev/dri/by-path/a", "containerPath": "/dev/dri/by-path/b"}, "a place that no CDI"),
    ],
)
def test_a_mount_that_cannot_be_made_refuses_the_device(mount: dict[str, str], why: str) -> None:
    assert why in reason(mounts=[mount])


def mounted(host_path: str, path: str) -> tuple[Mount, ...]:
    found = entry(mounts=[{"hostPath": host_path, "containerPath": path}])
    assert isinstance(found, Device), found
    return found.mounts


@pytest.mark.parametrize(
    "path",
    [
        "/usr/lib/x",
        "/lib/x",
        "/lib32/x",
        "/lib64/x",
        "/libx32/x",
        "/opt/x",
        "/etc/x",
        "/nix/store/x",
        "/run/opengl-driver",
        "/run/opengl-driver/lib",
    ],
)
def test_a_file_where_drivers_are_installed_is_shown(path: str) -> None:
    assert mounted(path, path) == (Mount(path, path),)


@pytest.mark.parametrize(
    "path",
    [
        "/run/nvidia-persistenced/socket",
        "/run/nvidia-fabricmanager/socket",
        "/tmp/nvidia-mps",
        "/var/run/x",
        "/srv/x",
        "/usr",
        "/opt",
        "/usrx/y",
        "/run/opengl-driver-x",
        "/nix/var/x",
    ],
)
def test_any_other_mount_is_left_out_wherever_it_comes_from(path: str) -> None:
    assert mounted(path, path) == ()
    assert mounted("/usr/lib/x", path) == ()


@pytest.mark.parametrize("name", ["LD_PRELOAD", "LD_AUDIT", "PATH", "PYTHONPATH", "NVIDIA_PYTHON_X"])
def test_a_variable_that_decides_which_code_runs_refuses_the_device(name: str) -> None:
    assert f"env {name}: it decides which code is run" in reason(env=[f"{name}=/x"])


@pytest.mark.parametrize("name", ["NVIDIA_X", "CUDA_X", "HIP_X", "ROCR_X", "ZE_X", "__EGL_X", "VK_X"])
def test_a_variable_of_gpus_is_given(name: str) -> None:
    found = entry(env=[f"{name}=a b"])
    assert isinstance(found, Device)
    assert found.variables == (Variable(name, "a b"),)


@pytest.mark.parametrize("name", ["HOME", "CUDA", "NVIDIA-X", "xCUDA_Y", "LD_LIBRARY_PATH"])
def test_any_other_variable_is_left_out(name: str) -> None:
    found = entry(env=[f"{name}=a"])
    assert isinstance(found, Device)
    assert found.variables == ()


LOADS = (
    *("CUDA_INJECTION32_PATH", "CUDA_INJECTION64_PATH", "VK_LAYER_PATH", "VK_ADD_LAYER_PATH"),
    *("VK_IMPLICIT_LAYER_PATH", "VK_INSTANCE_LAYERS", "VK_LOADER_LAYERS_ENABLE", "VK_ICD_FILENAMES"),
    *("VK_DRIVER_FILES", "VK_ADD_DRIVER_FILES", "ZE_ENABLE_LOADER_INTERCEPT", "ZE_ENABLE_ALT_DRIVERS"),
    *("ZE_ENABLE_TRACING_LAYER", "__EGL_VENDOR_LIBRARY_FILENAMES", "__EGL_VENDOR_LIBRARY_DIRS"),
    *("__EGL_EXTERNAL_PLATFORM_CONFIG_DIRS", "__EGL_EXTERNAL_PLATFORM_CONFIG_FILENAMES"),
)


@pytest.mark.parametrize("name", LOADS)
def test_a_variable_of_gpus_that_names_code_is_left_out_and_noted(name: str) -> None:
    edits = spec.Edits(env=(f"{name}=/x", "CUDA_MODULE_LOADING=LAZY"))
    found, notes = translate(edits, spec.Device("a.com/b=x", spec.Edits()))
    assert found == Device("a.com/b=x", variables=(Variable("CUDA_MODULE_LOADING", "LAZY"),))
    assert notes == [f"env {name} is left out: it decides which code is run"]


HOOK = {"hookName": "createContainer"}


@pytest.mark.parametrize(
    "hook",
    [
        {"path": "/usr/bin/nvidia-cdi-hook"},
        {"path": "/usr/bin/nvidia-cdi-hook", "args": ["nvidia-cdi-hook"]},
        {"path": "/usr/bin/nvidia-cdi-hook", "args": ["nvidia-cdi-hook", "run"]},
        {"path": "/usr/bin/nvidia-cdi-hook", "args": ["chmod", "run"]},
        {"path": "/usr/bin/nvidia-ctk", "args": ["nvidia-ctk", "chmod"]},
        {"path": "/usr/bin/nvidia-ctk", "args": ["nvidia-ctk", "runtime", "chmod"]},
        {"path": "/usr/bin/sh", "args": ["nvidia-cdi-hook", "chmod"]},
    ],
)
def test_a_hook_that_is_not_known_refuses_the_device(hook: dict[str, Any]) -> None:
    assert f"hook {hook['path']}" in reason(hooks=[{**HOOK, **hook}])


def test_all_reasons_come_at_once_and_fit() -> None:
    said = reason(
        env=["PATH=x"], deviceNodes=[{"path": "/dev/mem"}], mounts=[{"hostPath": "/", "containerPath": "/"}]
    )
    assert said == (
        "node /dev/mem: no node of a GPU or an accelerator; mount /: a place that no CDI spec changes; "
        "env PATH: it decides which code is run"
    )
    many = reason(deviceNodes=[{"path": f"/dev/sda{number}"} for number in range(100)])
    assert len(many) == 500
    assert many.endswith("...")


TEXTS = st.text(max_size=30) | st.sampled_from(
    ["/", "/dev/", "/dev/mem", "../x", "PATH=", "=", "a" * 600, "\u202e"]
)


@settings(max_examples=300)
@given(st.data())
def test_whatever_a_spec_asks_for_a_map_can_hold_what_comes_of_it(data: st.DataObject) -> None:
    """Every text of a good spec replaced in turn; what is still a spec is translated and written."""
    path = data.draw(st.sampled_from(sorted(GOOD.iterdir())))

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: changed(item) for key, item in value.items()}
        if isinstance(value, list):
            return list(map(changed, value))
        rarely = isinstance(value, str) and data.draw(st.integers(0, 9)) == 0
        return data.draw(TEXTS) if rarely else value

    value = changed(yaml.safe_load(path.read_text()))
    try:
        parsed = spec.parse(json.dumps(value).encode(), "x.json")
    except SpecInvalid:
        return
    made = [translate(parsed.edits, device) for device in parsed.devices]
    notes = tuple(short(text) for _, said in made for text in said)
    content = GpuMap(devices=tuple(entry for entry, _ in made), notes=notes)
    assert decode(encode(content)) == content
