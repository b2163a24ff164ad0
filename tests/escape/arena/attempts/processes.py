"""Processes of the host, process 1 of the sandbox, and staying when the sandbox has ended."""

from __future__ import annotations

import os
import signal
import time

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.oracle import bystander, end_all, holds, is_traced, payloads, status, token_came_out
from tests.escape.arena.world import World

PIDS = "own PID namespace"
NO_SANDBOX = frozenset({"sandbox"})
SLEEPER = "import time; print('up', flush=True); time.sleep(60)"


def _target(world: World) -> None:
    world.params["target"] = bystander(world, SLEEPER)


def _ended(world: World) -> bool:
    """A zombie until its parent, the runner, looks."""
    time.sleep(0.1)
    return any(status(pid, "State")[:1] in ("Z", "") for pid in world.bystanders)


def _with_secret_argument(world: World) -> None:
    world.params["target"] = bystander(world, SLEEPER, world.token)


def _with_secret_memory(world: World) -> None:
    """A host program with a buffer whose address is known, and a file that has no name."""
    program = (
        "import ctypes,os,sys,time; b=ctypes.create_string_buffer(sys.argv[1].encode());"
        "r,w=os.pipe(); os.write(w,sys.argv[1].encode());"
        "print(ctypes.addressof(b), r, flush=True); time.sleep(60)"
    )
    world.params["target"] = bystander(world, program, world.token)
    address, fd = world.line.split()
    world.params |= {"address": int(address), "fd": int(fd), "size": len(world.token)}


def _victims_memory(world: World) -> None:
    program = (
        "import ctypes,time; b=ctypes.create_string_buffer(b'untouched');"
        "print(ctypes.addressof(b), flush=True); time.sleep(60)"
    )
    world.params["target"] = bystander(world, program)
    world.params["address"] = int(world.line)


def _memory_changed(world: World) -> bool:
    with open(f"/proc/{world.bystanders[0]}/mem", "rb", buffering=0) as memory:
        memory.seek(int(str(world.params["address"])))
        return memory.read(9) != b"untouched"


def _limited(world: World) -> bool:
    with open(f"/proc/{world.bystanders[0]}/limits") as limits:
        return any(line.split()[:4] == ["Max", "cpu", "time", "7"] for line in limits)


def _still_there(world: World) -> bool:
    """Half a second after the launch ended a process of the payload is alive."""
    time.sleep(0.5)
    return bool([pid for pid in payloads(world) if status(pid, "State")[:1] != "Z"])


def _outlives_sigkill(world: World) -> bool:
    os.kill(world.pid, signal.SIGKILL)
    stayed = _still_there(world)
    end_all(world.mark)
    return stayed


def _held(world: World) -> None:
    """A directory that process 1 opened before anything was masked."""
    world.make(".ssh", mode=0o700)
    world.secret(".ssh/id_ed25519")
    world.mask(".ssh")
    fd = os.open(world.home, os.O_RDONLY)
    world.stack.callback(os.close, fd)
    world.params["held"] = fd
    world.pass_fds.append(fd)


def _careless_caller(world: World) -> None:
    def prepare() -> None:
        if world.how != "control":  # bubblewrap by itself waits for ever then
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP})

    world.prepare = prepare


DAEMON = """
if os.fork() == 0:
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        for fd in range(3):
            os.dup2(os.open("/dev/null", os.O_RDWR), fd)
        time.sleep(15)
    os._exit(0)
"""

FIRST = """
for pid in ("1", *(p for p in os.listdir("/proc") if p.isdigit())):
    threads = attempt(os.listdir, f"/proc/{pid}/task") or ()
    for place in (f"/proc/{pid}/fd", *(f"/proc/{pid}/task/{thread}/fd" for thread in threads)):
        for number in attempt(os.listdir, place) or ():
            show(f"{place}/{number}/.ssh/id_ed25519")
            show(f"{place}/{number}/home/dev/.ssh/id_ed25519")
    show(f"/proc/{pid}/root{secret}"); show(f"/proc/{pid}/cwd/../.ssh/id_ed25519")
"""

ATTEMPTS = (
    Attempt(
        "end-a-host-process",
        "kill by number",
        PIDS,
        frozenset({"pid"}),
        "os.kill(target, signal.SIGKILL)",
        _target,
        _ended,
    ),
    Attempt(
        "end-every-process",
        "kill(-1)",
        PIDS,
        frozenset({"pid"}),
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(-1, signal.SIGTERM)",
        _target,
        _ended,
    ),
    Attempt(
        "end-by-process-descriptor",
        "pidfd_send_signal to what /proc shows",
        PIDS,
        frozenset({"pid"}),
        'call("pidfd_send_signal", call("pidfd_open", target, 0), 9, None, 0)',
        _target,
        _ended,
    ),
    Attempt(
        "read-a-host-command-line",
        "a token among the arguments of a host program",
        PIDS,
        frozenset({"pid"}),
        'for pid in filter(str.isdigit, os.listdir("/proc")): show(f"/proc/{pid}/cmdline")',
        _with_secret_argument,
        token_came_out,
    ),
    Attempt(
        "limit-a-host-process",
        "prlimit of somebody else's CPU time",
        PIDS,
        frozenset({"pid"}),
        'call("prlimit64", target, 0, struct.pack("QQ", 7, 7), None)',
        _target,
        _limited,
    ),
    Attempt(
        "trace-a-host-process",
        "PTRACE_SEIZE",
        "own PID namespace, filter",
        NO_SANDBOX,
        'call("ptrace", 0x4206, target, 0, 0); meet()',
        _target,
        during=is_traced,
    ),
    Attempt(
        "read-a-host-processs-memory",
        "process_vm_readv and /proc/PID/mem",
        "own PID namespace, filter",
        NO_SANDBOX,
        """
buffer = ctypes.create_string_buffer(size)
local = struct.pack("PN", ctypes.addressof(buffer), size); remote = struct.pack("PN", address, size)
attempt(call, "process_vm_readv", target, local, 1, remote, 1, 0)
print(buffer.raw)
with open(f"/proc/{target}/mem", "rb", buffering=0) as memory:
    memory.seek(address); print(memory.read(size))
""",
        _with_secret_memory,
        token_came_out,
    ),
    Attempt(
        "write-a-host-processs-memory",
        "process_vm_writev",
        "own PID namespace, filter",
        NO_SANDBOX,
        """
data = ctypes.create_string_buffer(b"escaped!!")
ours, theirs = struct.pack("PN", ctypes.addressof(data), 9), struct.pack("PN", address, 9)
call("process_vm_writev", target, ours, 1, theirs, 1, 0)
""",
        _victims_memory,
        _memory_changed,
    ),
    Attempt(
        "take-a-host-descriptor",
        "pidfd_getfd and /proc/PID/fd of a host program",
        "own PID namespace, filter",
        NO_SANDBOX,
        """
handle = call("pidfd_open", target, 0)
print(os.read(call("pidfd_getfd", handle, fd, 0), 100))
""",
        _with_secret_memory,
        token_came_out,
    ),
    Attempt(
        "look-into-process-1",
        "what the inner stage holds open: /proc/1/fd, /proc/1/root, /proc/1/cwd",
        "inner stage not dumpable",
        frozenset({"dumpable"}),
        FIRST,
        _held,
        token_came_out,
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "write-process-1s-memory",
        "/proc/1/mem: whoever changes the inner stage decides what it reports",
        "inner stage not dumpable",
        frozenset({"dumpable"}),
        'keep = os.open("/proc/1/mem", os.O_RDWR); meet()',
        _held,
        during=holds("/proc/1/mem"),
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "stay-as-a-daemon",
        "double fork, new session, signals ignored",
        "own PID namespace",
        frozenset({"pid", "die"}),
        DAEMON,
        succeeded=_still_there,
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "stay-when-the-launcher-is-killed",
        "the launcher gets SIGKILL from outside, and cannot clean up",
        "die with parent",
        frozenset({"die"}),
        DAEMON + "meet()",
        during=_outlives_sigkill,
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "stay-where-children-are-ignored",
        "the caller ignores SIGCHLD and blocks what it can",
        "own PID namespace",
        frozenset({"pid", "die"}),
        DAEMON,
        _careless_caller,
        _still_there,
    ),
)
