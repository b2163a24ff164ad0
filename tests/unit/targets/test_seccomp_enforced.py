"""The filters under the kernel itself: this machine's architecture, with the same attempts unfiltered."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.targets.bubblewrap import syscalls
from fleetbox.targets.bubblewrap.seccomp import Filter, Variant
from fleetbox.targets.bubblewrap.syscalls import Arch

ARCH = Arch(os.uname().machine)
WORKS = ("thread", "subprocess", "shell pipe", "inet", "inet6 or none", "stream pair", "netlink route")
DENIED = [
    call
    for group in syscalls.ALWAYS + syscalls.UNLESS_NESTED
    for call, numbers in group.calls.items()
    if numbers.on(ARCH) is not None
]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "listener"))
        bound.setblocking(False)
        yield bound


def attempt(filter_: Filter | None, tmp_path: Path, listener: socket.socket) -> dict[str, str]:
    file = tmp_path / "filter.bpf"
    if filter_:
        file.write_bytes(filter_.program())
    child = [sys.executable, "-m", "tests.unit.targets.under_filter"]
    done = subprocess.run(
        [*child, str(file) if filter_ else "-", listener.getsockname()],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tried: dict[str, str] = json.loads(done.stdout)
    return tried


@pytest.mark.parametrize("variant", Variant)
def test_denied_calls_get_eperm_and_programs_still_work(
    variant: Variant, tmp_path: Path, listener: socket.socket
) -> None:
    tried = attempt(Filter(ARCH, variant, nested=False), tmp_path, listener)
    assert {call: tried[call] for call in DENIED} == dict.fromkeys(DENIED, "EPERM")
    assert {action: tried[action] for action in WORKS} == dict.fromkeys(WORKS, "ok")
    assert tried["clone3"] == "ENOSYS"
    assert tried["clone namespaces"] == "EPERM"
    assert tried["TIOCSTI"] == "EPERM"
    assert [tried[family] for family in ("netlink audit", "vsock", "packet")] == ["EPERM"] * 3


def test_without_unix_sockets_no_host_socket_can_be_named(tmp_path: Path, listener: socket.socket) -> None:
    tried = attempt(Filter(ARCH, Variant.NO_UNIX, nested=False), tmp_path, listener)
    assert (tried["unix datagram"], tried["datagram pair"]) == ("EPERM", "EPERM")
    with pytest.raises(BlockingIOError):
        listener.recv(16)


def test_the_same_attempts_succeed_or_fail_otherwise_without_a_filter(
    tmp_path: Path, listener: socket.socket
) -> None:
    """The control: EPERM above is the filter's, not the kernel's own."""
    tried = attempt(None, tmp_path, listener)
    assert (tried["unix datagram"], tried["datagram pair"]) == ("ok", "ok")
    assert listener.recv(16) == b"leak"
    assert tried["clone3"] != "ENOSYS"
    assert tried["clone namespaces"] != "EPERM"
    if os.geteuid() == 0:
        assert [call for call in DENIED if tried[call] == "EPERM"] == []
