"""The functional probe where something really refuses: limits, filters, a masked /proc, no bubblewrap.

Nothing here touches the settings of the machine the tests run on: limits are those of a user namespace of
the test's own, filters and mounts those of a single process.
"""

import ctypes
import errno
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from fleetbox.hostside import stream

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
UNSHARE = {"x86_64": 272, "aarch64": 97}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
# Runs a command as root of a user namespace that has all ids, so that `nobody` is there to become.
MAPPED = """
import ctypes, os, sys
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    if ctypes.CDLL(None).unshare(0x10000000):
        os._exit(1)
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    os.execvp(sys.argv[1], sys.argv[1:])
os.read(ready[0], 1)
for name in ("uid_map", "gid_map"):
    open(f"/proc/{child}/{name}", "w").write("0 0 65536")
os.write(go[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")
HIDE = ("sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"')

Facts = dict[str, Any]


def facts(*before: str, preexec_fn: Callable[[], None] | None = None) -> Facts:
    """What the streamed program says behind the given command."""
    argv = [*before, sys.executable, "-I", "-S", "-"]
    done = subprocess.run(
        argv,
        input=stream.script(["facts"]),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=preexec_fn,
    )
    assert done.returncode == 0, done.stderr
    found: Facts = json.loads(done.stdout)
    return found


def refuse(flag: int, number: int) -> Callable[[], None]:
    """A seccomp filter: unshare and clone with `flag` fail with errno `number`; clone3 does not exist."""

    def instruction(code: int, yes: int, no: int, value: int) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    load, equal, any_bit, answer = 0x20, 0x15, 0x45, 0x06
    allow, error = 0x7FFF0000, 0x00050000
    machine = os.uname().machine
    program = b"".join(
        [
            instruction(load, 0, 0, 0),
            instruction(equal, 0, 1, CLONE3),
            instruction(answer, 0, 0, error | errno.ENOSYS),
            instruction(equal, 1, 0, UNSHARE[machine]),
            instruction(equal, 0, 3, CLONE[machine]),
            instruction(load, 0, 0, 16),
            instruction(any_bit, 0, 1, flag),
            instruction(answer, 0, 0, error | number),
            instruction(answer, 0, 0, allow),
        ]
    )

    def install() -> None:
        text = ctypes.create_string_buffer(program)
        header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(text))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(22, 2, header, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")

    return install


def tried(*argv: str) -> tuple[str, ...]:
    """The same words, if a command can be run behind them here."""
    done = subprocess.run([*argv, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs root: {done.stderr.strip()}")
    return argv


def own_limit(limit: str, value: int) -> Facts:
    """Facts inside a user namespace of its own in which one limit of /proc/sys/user is set."""
    mapped = tried(sys.executable, "-c", MAPPED)
    return facts(*mapped, "sh", "-c", f'echo {value} > /proc/sys/user/{limit} && exec "$@"', "sh")


def hidden(path: str) -> tuple[str, ...]:
    """The words before a command that sees /dev/null at `path`, in mounts of its own."""
    return tried(*OWN_MOUNTS, *HIDE, path)


def test_a_machine_that_can_sandbox_has_no_gate(needs_sandbox: None) -> None:
    found = facts()
    assert (found["userns"]["usable"], found["gates"], found["bwrap"]["usable"]) == (True, [], True)


@pytest.mark.parametrize(
    ("number", "gate"),
    [(errno.EPERM, "userns_errno"), (errno.EINVAL, "userns_errno"), (errno.ENOSPC, "userns_max_zero")],
)
def test_refused_by_a_filter(needs_sandbox: None, number: int, gate: str) -> None:
    found = facts(preexec_fn=refuse(CLONE_NEWUSER, number))
    [opened] = found["gates"]
    assert (opened["id"], opened["fixable_by_role"], found["userns"]["usable"]) == (gate, False, False)


def test_a_refused_network_namespace_is_told_from_a_refused_user_namespace(needs_sandbox: None) -> None:
    [gate] = facts(preexec_fn=refuse(CLONE_NEWNET, errno.EPERM))["gates"]
    assert gate["id"] == "no_netns"


def test_no_user_namespaces_left(needs_sandbox: None) -> None:
    found = own_limit("max_user_namespaces", 0)
    [gate] = found["gates"]
    assert (gate["id"], gate["fixable_by_role"]) == ("userns_max_zero", True)
    assert found["userns"]["sysctls"]["user.max_user_namespaces"] == 0
    assert "user.max_user_namespaces = 15000" in gate["remedy"]


def test_no_network_namespaces_left(needs_sandbox: None) -> None:
    assert own_limit("max_net_namespaces", 0)["gates"][0]["id"] == "no_netns"


def test_no_process_namespaces_left(needs_sandbox: None) -> None:
    assert own_limit("max_pid_namespaces", 0)["gates"][0]["id"] == "userns_errno"


def test_a_masked_proc(needs_sandbox: None) -> None:
    [gate] = facts(*hidden("/proc/cpuinfo"))["gates"]
    assert gate["id"] == "proc_masked"


def test_a_host_without_bubblewrap_is_probed_without_it(needs_sandbox: None) -> None:
    without = hidden(str(shutil.which("bwrap")))
    found = facts(*without)
    assert (found["bwrap"], found["userns"]["usable"], found["gates"]) == (None, True, [])
    [gate] = facts(*without, preexec_fn=refuse(CLONE_NEWUSER, errno.EPERM))["gates"]
    assert gate["id"] == "userns_errno"
