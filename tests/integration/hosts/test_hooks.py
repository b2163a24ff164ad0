"""Odd hosts are odd in the way the real thing is: seen through ssh, as everything under test sees them."""

from __future__ import annotations

import errno

import pytest

from tests.support.hosts.fixtures import MakeHost
from tests.support.hosts.host import Host

pytestmark = pytest.mark.host

UNSHARE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(0 if libc.unshare(0x10000000) == 0 else ctypes.get_errno())
"""
OPEN = "import os, sys\ntry: os.open(sys.argv[1], os.O_RDWR); print(0)\nexcept OSError as e: print(e.errno)"
FRESH_PROC = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount", "mount", "-t", "proc"]


def _python(host: Host, program: str, *args: str) -> int:
    return int(host.ssh(["python3", "-c", program, *args]).stdout)


@pytest.mark.parametrize(
    ("hook", "release"), [("wsl1", "4.4.0-19041-Microsoft"), ("wsl2", "5.15.167.4-microsoft-standard-WSL2")]
)
def test_a_wsl_host_says_so_and_can_still_nest(make_host: MakeHost, hook: str, release: str) -> None:
    host = make_host(hooks=[hook])
    assert host.ssh(["cat", "/proc/sys/kernel/osrelease"]).stdout.decode() == release + "\n"
    assert f"Linux version {release} ".encode() in host.ssh(["cat", "/proc/version"]).stdout
    assert host.ssh([*FRESH_PROC, "proc", "/proc"], check=False).returncode == 0
    assert host.overlay_diff() == []


def test_a_masked_proc_refuses_a_fresh_one_to_a_sandbox(make_host: MakeHost) -> None:
    refused = make_host(hooks=["masked-proc"]).ssh([*FRESH_PROC, "proc", "/proc"], check=False)
    assert refused.returncode != 0
    assert b"permission denied" in refused.stderr
    assert make_host().ssh([*FRESH_PROC, "proc", "/proc"], check=False).returncode == 0


@pytest.mark.parametrize(("answer", "number"), [("ok", 0), ("ENOSPC", errno.ENOSPC), ("EPERM", errno.EPERM)])
def test_user_namespaces_end_with_the_asked_errno(make_host: MakeHost, answer: str, number: int) -> None:
    assert _python(make_host(userns=answer), UNSHARE) == number


def test_without_user_namespaces_sudo_still_works(make_host: MakeHost) -> None:
    host = make_host(userns="EINVAL", hooks=["wsl1"])
    assert _python(host, UNSHARE) == errno.EINVAL
    assert host.ssh(["sudo", "-n", "id", "-un"]).stdout == b"root\n"


@pytest.mark.parametrize(("gpu", "cards"), [("nvidia", 1), ("nvidia8", 8)])
def test_nvidia_nodes_are_there_and_have_no_driver(make_host: MakeHost, gpu: str, cards: int) -> None:
    host = make_host(gpu=gpu)
    for index in range(cards):
        assert _python(host, OPEN, f"/dev/nvidia{index}") in {errno.ENXIO, errno.ENODEV}
        assert host.ssh(["test", "-c", f"/dev/dri/renderD{128 + index}"], check=False).returncode == 0
    assert _python(host, OPEN, f"/dev/nvidia{cards}") == errno.ENOENT
    shared = host.ssh(["stat", "-c", "%n %t:%T %a", "/dev/nvidiactl", "/dev/nvidia-uvm"]).stdout
    assert shared == b"/dev/nvidiactl c3:ff 666\n/dev/nvidia-uvm 1ff:0 666\n"


def test_a_wsl_gpu_is_one_node(make_host: MakeHost) -> None:
    host = make_host(hooks=["wsl2"], gpu="dxg")
    assert _python(host, OPEN, "/dev/dxg") in {errno.ENXIO, errno.ENODEV}
    assert _python(host, OPEN, "/dev/nvidiactl") == errno.ENOENT


def test_a_plain_host_has_no_gpu(make_host: MakeHost) -> None:
    devices = make_host().ssh(["ls", "/dev"]).stdout.split()
    assert sorted(devices) == sorted(
        b"fd full null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
    )
