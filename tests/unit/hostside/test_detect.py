"""Detection on planted trees: every host that the reference describes, without having it."""

import os
import stat
from pathlib import Path

import pytest

from fleetbox.hostside.detect import gates, gpu, kernel, userns, wsl
from fleetbox.hostside.detect.attempt import Attempt, attempt
from fleetbox.hostside.detect.userns import Blocked
from fleetbox.hostside.paths import Places

INFORMATION = """\
Model: \t\t NVIDIA A100-SXM4-80GB
IRQ:   \t\t 42
GPU UUID: \t GPU-5a1b2c3d-0000-1111-2222-333344445555
Bus Location: \t {bus}
Device Minor: \t {minor}
"""


@pytest.fixture
def host(tmp_path: Path) -> Places:
    return Places(str(tmp_path))


def plant(host: Places, path: str, text: str = "") -> None:
    file = Path(host.under(path))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def plant_node(host: Places, path: str, major: int, minor: int) -> None:
    node = Path(host.under(path))
    node.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    except PermissionError:
        pytest.skip("needs root to make device nodes")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Linux version 4.4.0-22621-Microsoft (Microsoft@Microsoft.com)", 1),
        ("Linux version 4.4.0-19041-Microsoft", 1),
        ("Linux version 5.15.0-microsoft-standard-WSL1", 1),
        ("Linux version 5.15.0-wsl-microsoft-standard-WSL1", 1),
        ("Linux version 6.6.87.2-microsoft-standard-WSL2 (root@439a258ad544)", 2),
        ("Linux version 4.19.104-microsoft-standard (oe-user@oe-host)", 2),
        ("Linux version 7.0.0-microsoft-standard-WSL3", 2),
        ("Linux version 6.6.0-custom-WSL12", 2),
        ("Linux version 6.8.0-31-generic (buildd@lcy02)", 0),
        ("", 0),
    ],
)
def test_wsl_is_told_by_the_kernels_own_words(text: str, version: int) -> None:
    assert wsl.version(text) == version


@pytest.mark.parametrize(
    ("layer", "said", "sysctls", "gate", "fixable"),
    [
        ("user", "setting up uid map: Permission denied", {gates.APPARMOR: 1}, "userns_apparmor", True),
        ("net", "loopback: Failed RTM_NEWADDR", {gates.APPARMOR: 1}, "userns_apparmor", True),
        ("net", "loopback: Failed RTM_NEWADDR", {gates.APPARMOR: 0}, "no_netns", False),
        (
            "user",
            "Operation not permitted",
            {gates.CLONE: 0, gates.MAXIMUM: 100},
            "userns_clone_sysctl",
            True,
        ),
        ("user", "anything", {gates.MAXIMUM: 0}, "userns_max_zero", True),
        ("user", "exceeded (ENOSPC)", {gates.MAXIMUM: 3}, "userns_max_zero", True),
        ("user", "unshare failed: No space left on device", {gates.MAXIMUM: 96365}, "userns_max_zero", False),
        ("user", "No permissions to create new namespace", {gates.MAXIMUM: 96365}, "userns_errno", False),
        ("user", "Invalid argument", {}, "userns_errno", False),
        ("pid", "Creating new namespace failed", {}, "userns_errno", False),
        ("proc", "Can't mount proc on /newroot/proc", {gates.APPARMOR: 1}, "proc_masked", False),
    ],
)
def test_a_failed_probe_is_explained(
    layer: str, said: str, sysctls: dict[str, int], gate: str, fixable: bool
) -> None:
    found = gates.explain(layer, said, sysctls, kernel_has_userns=True)
    assert (found["id"], found["fixable_by_role"]) == (gate, fixable)
    assert found["remedy"]


def test_a_kernel_without_user_namespaces_is_no_settings_fault() -> None:
    found = gates.explain("user", "said", {gates.MAXIMUM: 0}, kernel_has_userns=False)
    assert found["id"] == "no_userns_kernel"


def test_settings_that_look_bad_are_no_gate_where_a_sandbox_works(host: Places) -> None:
    assert userns.locate(lambda _layers: Attempt(True, "")) is None


@pytest.mark.parametrize("missing", ["net", "pid", "proc"])
def test_the_layer_in_the_way_is_located(missing: str) -> None:
    def run(layers: frozenset[str]) -> Attempt:
        return Attempt(missing not in layers, f"no {missing}")

    assert userns.locate(run) == Blocked(missing, f"no {missing}")


def test_without_any_user_namespace_the_barest_attempt_is_quoted() -> None:
    assert userns.locate(lambda layers: Attempt(False, str(len(layers)))) == Blocked("user", "0")


def test_sysctls_that_the_kernel_lacks_are_left_out(host: Places) -> None:
    plant(host, "/proc/sys/user/max_user_namespaces", "15000\n")
    plant(host, "/proc/sys/kernel/unprivileged_userns_clone", "nonsense")
    assert userns.sysctls(host) == {gates.MAXIMUM: 15000}


def test_nvidia_gpus_come_in_pci_order_with_their_own_minors(host: Places) -> None:
    for bus, minor in (("0000:c1:00.0", 0), ("0000:01:00.0", 1)):
        plant(host, f"/proc/driver/nvidia/gpus/{bus}/information", INFORMATION.format(bus=bus, minor=minor))
    plant(host, "/sys/module/nvidia/version", "570.86.15\n")
    for name, minor in (("nvidiactl", 255), ("nvidia0", 0), ("nvidia1", 1), ("nvidia-modeset", 254)):
        plant_node(host, f"/dev/{name}", 195, minor)
    plant(host, "/dev/nvidia2", "a file, not a node")
    found = gpu.detect(host, 0)
    assert (found["kind"], found["driver"]) == ("nvidia", "570.86.15")
    assert [(device["bus"], device["minor"]) for device in found["devices"]] == [
        ("0000:01:00.0", 1),
        ("0000:c1:00.0", 0),
    ]
    assert found["devices"][0]["uuid"].startswith("GPU-5a1b2c3d")
    assert found["nodes"] == ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"]


def test_an_nvidia_gpu_without_proc_is_still_one(host: Places) -> None:
    plant_node(host, "/dev/nvidiactl", 195, 255)
    found = gpu.detect(host, 0)
    assert (found["kind"], found["driver"], found["devices"]) == ("nvidia", None, [])


def test_broken_driver_words_are_no_crash(host: Places) -> None:
    plant(host, "/proc/driver/nvidia/gpus/x/information", "Device Minor: ²\nno colon\nModel: " + "m" * 500)
    [device] = gpu.detect(host, 0)["devices"]
    assert (device["minor"], len(device["model"])) == (None, 100)


def test_wsl2_has_dxg_whatever_else_is_there(host: Places) -> None:
    plant_node(host, "/dev/dxg", 10, 125)
    plant_node(host, "/dev/nvidiactl", 195, 255)
    assert gpu.detect(host, 2) == {"kind": "wsl", "driver": None, "devices": [], "nodes": ["/dev/dxg"]}


def test_wsl2_without_dxg_has_no_gpu(host: Places) -> None:
    assert gpu.detect(host, 2)["kind"] == "none"


def test_other_vendors_are_told_apart(host: Places, tmp_path: Path) -> None:
    assert gpu.detect(host, 0)["kind"] == "none"
    plant(host, "/sys/class/drm/renderD128/device/vendor", "0x8086\n")
    assert gpu.detect(host, 0)["kind"] == "intel"
    plant_node(host, "/dev/kfd", 240, 0)
    assert gpu.detect(host, 0)["kind"] == "amd"
    plant(host, "/sys/devices/soc0/family", "Tegra\n")
    assert gpu.detect(host, 0)["kind"] == "jetson"


def test_a_distribution_is_read_without_a_shell(host: Places) -> None:
    plant(
        host, "/etc/os-release", 'ID=debian\nPRETTY_NAME="Debian 12 $(id)"\nVERSION_ID="12\nID_LIKE="a b"\n'
    )
    found = kernel.distribution(host)
    assert found["pretty"] == "Debian 12 $(id)"
    assert (found["id"], found["version_id"], found["id_like"]) == ("debian", "", ["a", "b"])


def test_a_host_without_a_machine_id_has_no_host_id(host: Places) -> None:
    assert kernel.host_id(host) is None
    plant(host, "/etc/machine-id", "\n")
    assert kernel.host_id(host) is None
    plant(host, "/etc/machine-id", "b08dfa6083e7567a1921a715000001fb\n")
    assert kernel.host_id(host) == "fa0a9324f247fc4cdac5cb8478956356d8167f363e167c1043ae3e14682cc06a"


def test_a_probe_is_never_run_as_root() -> None:
    """Root may do what workloads may not, so its success would prove nothing."""
    ran = attempt(["id", "-u"], None)
    assert ran.ok
    assert ran.printed.strip() != "0"


def test_a_probe_that_hangs_is_ended_with_all_its_children() -> None:
    ran = attempt(["sh", "-c", "sleep 60 & sleep 60"], None, timeout=0.2)
    assert ran == Attempt(False, "sh did not end within 0.2 s")


def test_what_a_probe_says_is_one_printable_line() -> None:
    rude = attempt(["sh", "-c", r"printf '\n \033[2Jno\nmore\n' >&2; exit 3"], None)
    assert rude == Attempt(False, "?[2Jno")
    assert attempt(["sh", "-c", "exit 3"], None) == Attempt(False, "exit status 3")
    assert attempt(["/nowhere/bwrap"], None) == Attempt(False, "/nowhere/bwrap: No such file or directory")
