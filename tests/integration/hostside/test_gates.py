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
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import stream
from fleetbox.hostside.detect import evidence
from fleetbox.hostside.paths import Places

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
# What a machine may say of itself that was made from a container's image.
IN_CONTAINER = evidence.container(Places()) != ""
REFUSED = "container" if IN_CONTAINER else "userns_errno"
BWRAP = str(shutil.which("bwrap"))
OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")
HIDE = ("sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"')

Facts = dict[str, Any]


def facts(*before: str, preexec_fn: Callable[[], None] | None = None, pass_fds: Sequence[int] = ()) -> Facts:
    """What the streamed program says behind the given command."""
    argv = [*before, sys.executable, "-I", "-S", "-"]
    done = subprocess.run(
        argv,
        input=stream.script(["facts"]),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=preexec_fn,
        pass_fds=pass_fds,
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
    [(errno.EPERM, REFUSED), (errno.EINVAL, REFUSED), (errno.ENOSPC, "userns_exhausted")],
)
def test_refused_by_a_filter(needs_sandbox: None, number: int, gate: str) -> None:
    found = facts(preexec_fn=refuse(CLONE_NEWUSER, number))
    [opened] = found["gates"]
    assert (opened["id"], opened["fixable_by_role"], found["userns"]["usable"]) == (gate, False, False)


def test_a_refused_network_namespace_is_told_from_a_refused_user_namespace(needs_sandbox: None) -> None:
    [gate] = facts(preexec_fn=refuse(CLONE_NEWNET, errno.EPERM))["gates"]
    assert gate["id"] == ("container" if IN_CONTAINER else "no_netns")


def test_no_user_namespaces_left(needs_sandbox: None) -> None:
    found = own_limit("max_user_namespaces", 0)
    [gate] = found["gates"]
    assert (gate["id"], gate["fixable_by_role"]) == ("userns_max_zero", True)
    assert found["userns"]["sysctls"]["user.max_user_namespaces"] == 0
    assert "user.max_user_namespaces=15000" in gate["remedy"]
    assert "ENOSPC" in gate["symptom"]


def test_no_network_namespaces_left(needs_sandbox: None) -> None:
    [gate] = own_limit("max_net_namespaces", 0)["gates"]
    assert (gate["id"], gate["fixable_by_role"]) == ("netns_max_zero", True)


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "mnt", "cgroup"])
def test_no_namespaces_of_another_kind_left(needs_sandbox: None, kind: str) -> None:
    [gate] = own_limit(f"max_{kind}_namespaces", 0)["gates"]
    assert gate["id"] == "ns_max_zero"
    assert f"user.max_{kind}_namespaces is 0" in gate["symptom"]


def test_inside_another_sandbox_that_sandbox_is_named(needs_sandbox: None) -> None:
    [gate] = facts("env", "FLEETBOX_SANDBOX=base", preexec_fn=refuse(CLONE_NEWUSER, errno.EPERM))["gates"]
    assert (gate["id"], gate["fixable_by_role"]) == ("nested_sandbox", False)
    assert "inside fleetbox" in gate["symptom"]


def test_the_mark_of_a_sandbox_is_no_gate_where_sandboxes_work(needs_sandbox: None) -> None:
    assert facts("env", "SANDBOX_RUNTIME=1")["gates"] == []


def test_a_chroot(needs_sandbox: None, open_dir: Path) -> None:
    tops = {
        f"/{Path(path).parts[1]}" for path in (sys.executable, os.path.realpath(sys.executable), open_dir)
    }
    tree = sorted({"/bin", "/lib", "/lib64", "/usr", "/etc", "/proc", "/dev", *tops})
    script = """
        root="$1"; shift
        for d in $0; do
          mkdir -p "$root$d"; mount --rbind "$d" "$root$d"
        done
        exec chroot "$root" "$@"
    """
    inside = tried(*OWN_MOUNTS, "sh", "-euc", script, " ".join(tree), str(open_dir))
    [gate] = facts(*inside)["gates"]
    assert gate["id"] == "chroot"


def test_a_masked_proc(needs_sandbox: None) -> None:
    [gate] = facts(*hidden("/proc/cpuinfo"))["gates"]
    assert gate["id"] == "proc_masked"


def with_bwrap(program: Path) -> tuple[str, ...]:
    """The words before a command for which `program` is this machine's bubblewrap."""
    return tried(*OWN_MOUNTS, "sh", "-c", 'mount --bind "$1" "$0" && shift && exec "$@"', BWRAP, str(program))


def test_a_bwrap_that_hangs_is_a_gate_in_bounded_time(needs_sandbox: None, open_dir: Path) -> None:
    hanging = script(open_dir, "exec sleep 63.5")
    [gate] = facts(*with_bwrap(hanging))["gates"]
    assert gate["id"] == "mount_stuck"
    assert "did not end within 5 s" in gate["symptom"]


def test_a_setuid_bwrap_costs_what_the_child_lacks(needs_sandbox: None, open_dir: Path) -> None:
    copy = open_dir / "bwrap"
    shutil.copy(BWRAP, copy)
    copy.chmod(0o4755)
    found = facts(*with_bwrap(copy))
    assert (found["gates"], [cost["id"] for cost in found["costs"]]) == ([], ["inner_no_caps"])
    assert "is setuid" in found["costs"][0]["symptom"]
    assert facts()["costs"] == []


def test_no_new_privileges_take_the_setuid_bit_away(needs_sandbox: None, open_dir: Path) -> None:
    copy = open_dir / "bwrap"
    shutil.copy(BWRAP, copy)
    copy.chmod(0o4755)
    privileged = (*with_bwrap(copy), "setpriv", "--no-new-privs")
    [gate] = facts(*privileged, preexec_fn=refuse(CLONE_NEWUSER, errno.EPERM))["gates"]
    assert gate["id"] == "bwrap_no_new_privs"


def script(directory: Path, line: str) -> Path:
    path = directory / "program"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path


@contextmanager
def silent_file_system(directory: Path) -> Iterator[None]:
    """A FUSE file system that takes requests and never answers: whoever touches it is in a D state."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC) if os.geteuid() == 0 else -1
    options = f"fd={device},rootmode=40755,user_id=0,group_id=0,allow_other"
    if ctypes.CDLL(None).mount(b"silent", str(directory).encode(), b"fuse", 0, options.encode()):
        pytest.skip("needs root and FUSE")
    reader = threading.Thread(target=swallow, args=(device,))
    reader.start()
    try:
        yield
    finally:
        abort(directory)  # frees whoever waits, and the reader
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
        reader.join()
        os.close(device)


def abort(directory: Path) -> None:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    [minor] = [line.split()[2].split(":")[1] for line in lines if f" {directory} " in line]
    if not Path("/sys/fs/fuse/connections", minor).exists():
        subprocess.run(["mount", "-t", "fusectl", "none", "/sys/fs/fuse/connections"], check=True)
    Path("/sys/fs/fuse/connections", minor, "abort").write_text("1")


def swallow(device: int) -> None:
    """Agree to begin, then take each request: one that was taken is waited for even past SIGKILL."""
    with suppress(OSError):
        while request := os.read(device, 1 << 17):
            _, operation, unique = struct.unpack_from("=IIQ", request)
            if operation == 26:  # FUSE_INIT
                body = struct.pack("=IIIIHHI40x", 7, 31, 0, 0, 12, 9, 4096)
                os.write(device, struct.pack("=IiQ", 16 + len(body), 0, unique) + body)


def test_a_mount_that_never_answers_is_a_gate_although_its_process_cannot_be_killed(
    needs_sandbox: None, open_dir: Path
) -> None:
    silent = open_dir / "silent"
    silent.mkdir()
    # What bwrap does to every mount below / on the kernels of openai/codex#20017.
    touching = script(
        open_dir, f'case "$*" in *"--ro-bind / /"*) exec ls {silent};; esac; exec {BWRAP}.real "$@"'
    )
    binds = 'mount --bind "$0" "$0.real" && mount --bind "$1" "$0" && shift && exec "$@"'
    real = Path(f"{BWRAP}.real")
    real.touch()
    try:
        before = tried(*OWN_MOUNTS, "sh", "-c", binds, BWRAP, str(touching))
        with silent_file_system(silent):
            [gate] = facts(*before)["gates"]
    finally:
        real.unlink()
    assert gate["id"] == "mount_stuck"
    assert "did not end within" in gate["symptom"]


def test_nothing_is_mounted_on_demand_by_being_asked(needs_sandbox: None, open_dir: Path) -> None:
    """A real autofs mount whose daemon would be us: no request may arrive."""
    requests, daemon = os.pipe()
    mount = """
import ctypes, os, sys
directory, fd, *command = sys.argv[1:]
options = f"fd={fd},pgrp={os.getpgid(0)},minproto=5,maxproto=5,direct"
if ctypes.CDLL(None).mount(b"auto", directory.encode(), b"autofs", 0, options.encode()):
    sys.exit("no autofs here")
os.setpgid(0, 0)  # the daemon's own group never triggers
os.close(int(fd))
os.execvp(command[0], command)
"""
    directory = open_dir / "auto"
    directory.mkdir()
    argv = [*OWN_MOUNTS, sys.executable, "-c", mount, str(directory), str(daemon)]
    probe = subprocess.run([*argv, "true"], pass_fds=[daemon], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"needs root and autofs: {probe.stderr.strip()}")
    found = facts(*argv, pass_fds=[daemon])
    os.close(daemon)
    assert (found["gates"], found["userns"]["usable"]) == ([], True)
    assert os.read(requests, 1) == b"", "a request to mount arrived"
    os.close(requests)


def test_a_host_without_bubblewrap_is_probed_without_it(needs_sandbox: None) -> None:
    without = hidden(str(shutil.which("bwrap")))
    found = facts(*without)
    assert (found["bwrap"], found["userns"]["usable"], found["gates"]) == (None, True, [])
    [gate] = facts(*without, preexec_fn=refuse(CLONE_NEWUSER, errno.EPERM))["gates"]
    assert gate["id"] == REFUSED
