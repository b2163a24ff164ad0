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


def test_a_plain_host_has_no_gpu(make_host: MakeHost) -> None:
    devices = make_host().ssh(["ls", "/dev"]).stdout.split()
    assert sorted(devices) == sorted(
        b"fd full null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
    )
