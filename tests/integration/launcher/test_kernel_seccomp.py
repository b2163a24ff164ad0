"""The compiled filters in a real sandbox: each refused call tried, each socket, and what goes on working."""

import json
import os
import signal
import subprocess
from typing import Any

import pytest

from fleetbox.targets.bubblewrap import syscalls
from fleetbox.targets.bubblewrap.seccomp import Filter, Variant
from fleetbox.targets.bubblewrap.syscalls import Arch
from tests.integration.launcher.conftest import Bench
from tests.support.plans import ALLOW_ALL, Plan

ARCH = Arch(os.uname().machine)
Groups = tuple[syscalls.Group, ...]


def numbers(*groups: Groups) -> dict[str, int]:
    found = {call: n.on(ARCH) for several in groups for group in several for call, n in group.calls.items()}
    return {call: number for call, number in found.items() if number is not None}


# A sandbox without bubblewrap refuses every change of a mode, and more.
BESIDE_MOUNTS = (Variant.UNIX, Variant.NO_UNIX)
DENIED = numbers(syscalls.ALWAYS, syscalls.UNLESS_NESTED)
LEFT_ALONE = numbers(syscalls.LEFT_ALONE)

# Arguments that no kernel accepts: nothing happens to the machine even where a call is allowed.
CALLS = """
import ctypes, errno, json, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    words = [ctypes.c_long(word) for word in (number, *(arguments or (-1,) * 6))]
    return errno.errorcode[ctypes.get_errno()] if libc.syscall(*words) == -1 else "ok"
"""
TRY_ALL = CALLS + "print(json.dumps({name: call(n) for name, n in json.loads(sys.argv[1]).items()}))"


def plan(bench: Bench, variant: Variant | None, **head: str) -> Plan:
    """With the filter of a variant, or with one that allows everything."""
    program = Filter(ARCH, variant, nested=False).program() if variant else ALLOW_ALL
    return Plan(
        bench.ops(),
        {"unix-sockets": "private" if variant is Variant.UNIX else "none", **head},
        filter=program,
    )


def inside(
    bench: Bench, variant: Variant | None, script: str, *words: str
) -> "subprocess.CompletedProcess[str]":
    return bench.run(plan(bench, variant), "/usr/bin/python3", "-c", script, *words)


def tried(bench: Bench, variant: Variant | None, script: str, *words: str) -> Any:
    done = inside(bench, variant, script, *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("variant", Variant)
def test_every_refused_call_gets_eperm(bench: Bench, variant: Variant) -> None:
    assert tried(bench, variant, TRY_ALL, json.dumps(DENIED)) == dict.fromkeys(DENIED, "EPERM")


def test_most_of_them_are_refused_by_the_filter_alone(bench: Bench) -> None:
    """The rest needs a capability, which a workload does not have either."""
    unfiltered = tried(bench, None, TRY_ALL, json.dumps(DENIED))
    by_filter = {call for call, answer in unfiltered.items() if answer != "EPERM"}
    assert {"ptrace", "io_uring_setup", "keyctl", "add_key", "unshare", "process_vm_readv"} <= by_filter


@pytest.mark.parametrize("variant", BESIDE_MOUNTS)
def test_what_is_left_alone_answers_as_without_a_filter(bench: Bench, variant: Variant) -> None:
    asked = json.dumps(LEFT_ALONE)
    assert tried(bench, variant, TRY_ALL, asked) == tried(bench, None, TRY_ALL, asked)


BY_ARGUMENT = (
    CALLS
    + """
clone, clone3, ioctl, socket, socketpair = json.loads(sys.argv[1])
high = 1 << 32
print(json.dumps({
    "clone3": call(clone3, -1, -1),
    "clone": [call(clone, flag | 17 | bits, 0, 0, 0, 0) for bits in (0, high)
              for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)],
    "ioctl": [call(ioctl, 0, request | bits, 0) for request in (0x5412, 0x541C) for bits in (0, high)],
    "x32": call(0x40000000 | 39),
    "socket": {family: call(socket, family | bits, 3, 0) for family in range(64) for bits in (high, 0)},
    "netlink": [call(socket, 16, 3, protocol) for protocol in range(1, 23)],
    "packet": call(socket, 2, 10 | 0o2000000, 3),
    "pairs": [call(socketpair, 1, kind | 0o4000, 0, -1) for kind in (1, 2, 3, 5)],
}))
"""
)


@pytest.mark.parametrize("variant", Variant)
def test_arguments_decide_with_their_low_half(bench: Bench, variant: Variant) -> None:
    calls = (syscalls.CLONE, syscalls.CLONE3, syscalls.IOCTL, syscalls.SOCKET, syscalls.SOCKETPAIR)
    said = tried(bench, variant, BY_ARGUMENT, json.dumps([call.on(ARCH) for call in calls]))
    unix = variant is Variant.UNIX
    assert said["clone3"] == "ENOSYS"
    assert set(said["clone"]) == {"EPERM"}
    assert set(said["ioctl"]) == {"EPERM"}
    assert said["x32"] == "ENOSYS"
    assert {int(family) for family, answer in said["socket"].items() if answer != "EPERM"} <= {1, 2, 10, 16}
    assert (said["socket"]["1"] == "EPERM") is not unix
    assert said["socket"]["16"] == "ok"
    assert set(said["netlink"]) == {"EPERM"}
    assert said["packet"] == "EPERM"
    refused = [answer == "EPERM" for answer in said["pairs"]]  # stream, datagram, raw, seqpacket
    assert refused == ([False] * 4 if unix else [False, True, True, False])


WORKS = """
import concurrent.futures, json, os, socket, subprocess, threading
with concurrent.futures.ThreadPoolExecutor(8) as pool: assert sum(pool.map(abs, range(100))) == 4950
assert subprocess.run(["sh", "-c", "echo x | cat"], capture_output=True, check=True).stdout == b"x\\n"
assert os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1] == 0
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname()); client.sendall(b"x")
assert server.accept()[0].recv(1) == b"x"
left, right = socket.socketpair(); left.sendall(b"x"); assert right.recv(1) == b"x"
assert socket.if_nameindex()
print(json.dumps("works"))
"""


@pytest.mark.parametrize("variant", Variant)
def test_threads_processes_and_loopback_work(bench: Bench, variant: Variant) -> None:
    assert tried(bench, variant, WORKS) == "works"


MODES = (
    CALLS
    + """
import os, shutil, subprocess, tarfile
os.umask(0)
numbers = json.loads(sys.argv[1])
def said(do, *arguments):
    try: do(*arguments)
    except OSError as problem: return errno.errorcode[problem.errno]
    return "ok"
open("plain", "w").close()
os.mkdir("shared"); os.chmod("shared", 0o2775); open("shared/x", "w").close()
print(json.dumps({
    "chmod": [said(os.chmod, "plain", mode) for mode in (0o4755, 0o6755, 0o755, 0o1777, 0o2755)],
    "fchmod": said(os.fchmod, os.open("plain", os.O_RDONLY), 0o4755),
    "open": said(os.open, "new", os.O_CREAT | os.O_WRONLY, 0o4755),
    "tmpfile": said(os.open, ".", os.O_TMPFILE | os.O_WRONLY, 0o4755),
    "mknod": said(os.mknod, "node", 0o104755),
    "others": {name: call(number, *words) for name, number, *words in numbers},
    "copy": said(shutil.copytree, "shared", "copy"),
    "cp": subprocess.run(["cp", "-a", "shared", "copied"]).returncode,
    "left": [name for name in os.listdir(".") if os.stat(name).st_mode & 0o4000],
}))
"""
)


@pytest.mark.parametrize("variant", BESIDE_MOUNTS)
def test_nothing_becomes_set_user_id_and_other_modes_are_free(bench: Bench, variant: Variant) -> None:
    """Directories that a group shares are copied with their bit."""
    others = {"openat2": (syscalls.OPENAT2, -100, 0, 0, 24)}
    others["fchmodat2"] = (syscalls.SET_MODE[2]["fchmodat2"], -100, 0, 0o4755, 0)
    words = [[name, numbers.on(ARCH), *rest] for name, (numbers, *rest) in others.items()]
    said = tried(bench, variant, MODES, json.dumps(words))
    assert said["chmod"] == ["EPERM", "EPERM", "ok", "ok", "ok"]
    assert [said[way] for way in ("fchmod", "open", "tmpfile", "mknod")] == ["EPERM"] * 4
    assert said["others"] == {"openat2": "ENOSYS", "fchmodat2": "EPERM"}
    assert (said["copy"], said["cp"]) == ("ok", 0)
    assert said["left"] == []


INT80 = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))  # mov eax, getpid; int 0x80; ret
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"""
# The smallest 32-bit ARM program: header, one segment, and the code.
ARM32 = bytes.fromhex(
    "7f454c4601010100000000000000000002002800010000005400"
    "0100340000000000000000000005340020000100000000000000"
    "0100000000000000000001000000010068000000680000000500000000100000"
    "1470a0e3000000ef0000a0e30170a0e3000000ef"  # mov r7, getpid; svc 0; mov r0, 0; mov r7, exit; svc 0
)


def through_the_32_bit_door(bench: Bench) -> list[str]:
    """A program of this machine's that makes a 32-bit call and ends with 0; on ARM only a 32-bit one can."""
    if ARCH is Arch.X86_64:
        return ["/usr/bin/python3", "-c", INT80]
    program = bench.make("arm32", "")
    program.write_bytes(ARM32)
    program.chmod(0o755)
    return [str(program)]


@pytest.mark.parametrize("variant", Variant)
def test_the_32_bit_door_kills(bench: Bench, variant: Variant) -> None:
    words = through_the_32_bit_door(bench)
    open_door = bench.run(plan(bench, None), *words).returncode
    if open_door != 0:
        assert open_door == (128 + signal.SIGSEGV if ARCH is Arch.X86_64 else 126)
        pytest.skip("needs a kernel and a processor that run 32-bit programs")
    assert bench.run(plan(bench, variant), *words).returncode == 128 + signal.SIGSYS


LIMIT = """
import os, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))
"""


@pytest.mark.parametrize("host_pids", [False, True])
def test_with_the_hosts_processes_in_sight_none_can_be_ended_by_a_limit(
    bench: Bench, host_pids: bool
) -> None:
    """Landlock's scopes are about signals: without the filter the parent gets the limit."""
    program = Filter(ARCH, Variant.NO_UNIX, nested=False, host_pids=host_pids).program()
    plan = Plan(bench.ops(), head={"host-pids": "yes"}, filter=program)
    hide = "mount -t tmpfs none /proc/fs"  # so that no fresh /proc can be mounted
    done = bench.sh_after(hide, plan, f"/usr/bin/python3 -c '{LIMIT}'")
    assert ("PermissionError" in done.stderr, done.returncode) == ((True, 1) if host_pids else (False, 0)), (
        done
    )
