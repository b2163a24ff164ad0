"""The program that tries things, the same inside the sandbox and outside it.

Its *source* is sent on stdin of `python3 -I -S -`, so it imports the standard library only and nothing of
fleetbox: the sandbox may hide the rest. Modules sent beside it (`launch.py`) add operations of their own.
Every attempt runs in a forked child of its own, because a filter may kill it and a namespace call would
change it for the next one.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

LIMIT = 4.0  # seconds for one attempt; a connection that takes longer is reported as timed out
CONNECT = 3.0
CLONE_NEWUSER = 0x10000000
PR_SET_NAME = 15

# number on x86_64, number on aarch64
NUMBERS = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "io_uring_setup": (425, 425),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
}
FAMILIES = {"AF_VSOCK": (40, socket.SOCK_STREAM), "AF_ALG": (38, socket.SOCK_SEQPACKET)}

libc = ctypes.CDLL(None, use_errno=True)


def failed(number: int, detail: str = "") -> OSError:
    return OSError(number, detail or os.strerror(number))


def checked(result: int) -> int:
    if result < 0:
        raise failed(ctypes.get_errno())
    return result


def syscall(name: str, *arguments: object) -> int:
    number = NUMBERS[name][0 if os.uname().machine == "x86_64" else 1]
    return checked(int(libc.syscall(ctypes.c_long(number), *arguments)))


# -- files -----------------------------------------------------------------------------------------


def identity(place: str) -> str:
    """What a directory or file is, however it is called: a private one at the same place is another."""
    found = os.stat(place)
    return f"{found.st_dev}:{found.st_ino}"


def at_home(place: list[str]) -> None:
    """Raises unless (directory, identity) is what the host has there."""
    if identity(place[0]) != place[1]:
        raise failed(errno.ENOENT, "a private directory is there")


def create(path: str, parents: bool = False, place: list[str] | None = None) -> str:
    """Make a new file and take it away again, with the directories that were missing."""
    if place:
        at_home(place)
    made = missing_parents(path) if parents else []
    done = []
    try:
        for directory in made:
            os.mkdir(directory, 0o700)
            done.append(directory)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        os.write(descriptor, b"fleetbox probe\n")
        os.close(descriptor)
        os.unlink(path)
    finally:
        for directory in reversed(done):
            os.rmdir(directory)
    return ""


def missing_parents(path: str) -> list[str]:
    missing: list[str] = []
    directory = os.path.dirname(path)
    while not os.path.lexists(directory):
        missing.insert(0, directory)
        directory = os.path.dirname(directory)
    return missing


def nearest(path: str) -> str:
    """The path, or the nearest directory above it that is there."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def edit(path: str, known: str | None = None) -> str:
    """Open what is there for appending, without writing; create and remove what is not.

    `known` is the identity of what the host has nearest to the path.
    """
    if known is not None and identity(nearest(path)) != known:
        raise failed(errno.ENOENT, "a private file or directory is there")
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW))
    except FileNotFoundError:
        create(path, parents=True)
    return ""


def leave(path: str) -> str:
    """Make a file and leave it there."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return ""


def read(path: str, token: str = "") -> str:
    """Read the beginning; a file without the token is not the one that was planted."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if token and token.encode() not in os.read(descriptor, 4096):
            raise failed(errno.ENODATA, "another file is there")
    finally:
        os.close(descriptor)
    return ""


def rename(path: str) -> str:
    os.rename(path, path + ".moved")
    os.rename(path + ".moved", path)
    return ""


def writable(places: list[list[str]]) -> str:
    """Which of these (directory, identity) the kernel would let us write; asks, and writes nothing."""
    found = [path for path, known in places if os.access(path, os.W_OK) and identity(path) == known]
    if not found:
        raise failed(errno.EROFS)
    return ", ".join(found[:5])


# -- network and sockets ---------------------------------------------------------------------------


def expect_token(connection: socket.socket, token: str) -> str:
    connection.settimeout(CONNECT)
    if token and connection.recv(64) != token.encode():
        raise failed(errno.ENODATA, "somebody else answered")
    return ""


def reach_tcp(address: str, port: int, token: str = "") -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT)
        connection.connect((address, port))
        return expect_token(connection, token)


def send_udp(address: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as connection:
        connection.sendto(b"fleetbox", (address, port))
    return ""


def own_loopback() -> str:
    """A server and a client of our own, which every policy allows."""
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        client.settimeout(CONNECT)
        client.connect(server.getsockname())
    return ""


def reach_unix(path: str, token: str = "") -> str:
    """Connect to a stream socket; a leading @ stands for the abstract namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT)
        connection.connect("\0" + path[1:] if path.startswith("@") else path)
        return expect_token(connection, token)


def reach_any_unix(paths: list[str]) -> str:
    """The first of these sockets that lets us connect; hung up at once."""
    problem = failed(errno.ENOENT)
    for path in paths:
        try:
            reach_unix(path)
        except OSError as refusal:
            problem = refusal
        else:
            return path
    raise problem


def send_unix(path: str) -> str:
    """Name a datagram socket in sendmsg: the door that a filter on connect and sendto leaves open."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.sendmsg([b"fleetbox"], [], 0, path)
    return ""


def own_socketpair() -> str:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    left.sendall(b"x")
    if right.recv(1) != b"x":
        raise failed(errno.EPIPE)
    return ""


# -- processes and the kernel ----------------------------------------------------------------------


def namespaces() -> str:
    names = ("user", "mnt", "pid", "ipc", "uts", "cgroup", "net")
    return json.dumps({name: os.readlink("/proc/self/ns/" + name) for name in names})


def status() -> str:
    wanted = ("NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        pairs = (line.split(":", 1) for line in lines)
        return json.dumps({name: value.strip() for name, value in pairs if name in wanted})


def user_namespace(door: str) -> str:
    if door == "unshare":
        checked(libc.unshare(CLONE_NEWUSER))
    elif door == "clone":
        reap(syscall("clone", CLONE_NEWUSER | signal.SIGCHLD, None, None, None, None))
    else:
        arguments = struct.pack("8Q", CLONE_NEWUSER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
        reap(syscall("clone3", arguments, ctypes.c_size_t(len(arguments))))
    return ""


def reap(pid: int) -> None:
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def own_child() -> str:
    reap(os.fork())
    return ""


def forbidden(name: str) -> str:
    """One system call that a workload has no business with, harmless as it is made here."""
    if name in FAMILIES:
        socket.socket(*FAMILIES[name]).close()
    else:
        syscall(name, *harmless(name))
    return ""


def harmless(name: str) -> tuple[object, ...]:  # noqa: PLR0911 - a table that needs fresh buffers
    process_keyring = ctypes.c_long(-2)
    size = ctypes.c_size_t
    if name == "ptrace":
        return (0, 0, None, None)  # PTRACE_TRACEME
    if name == "process_vm_readv":
        return (os.getpid(), None, size(0), None, size(0), size(0))
    if name == "keyctl":
        return (0, process_keyring, 1)  # KEYCTL_GET_KEYRING_ID, created when missing
    if name == "add_key":
        return (b"user", b"fleetbox-probe", b"x", size(1), process_keyring)
    if name == "io_uring_setup":
        return (1, ctypes.create_string_buffer(120))
    if (
        name == "perf_event_open"
    ):  # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK, of ourselves, user space only
        attributes = struct.pack("=IIQQQQQ", 1, 112, 1, 0, 0, 0, 1 << 5 | 1 << 6) + bytes(64)
        return (ctypes.create_string_buffer(attributes, 112), 0, -1, -1, 0)
    if name == "bpf":  # BPF_MAP_CREATE of one array element
        return (0, ctypes.create_string_buffer(struct.pack("=IIII", 2, 4, 4, 1) + bytes(56), 72), 72)
    return (os.O_CLOEXEC | 1,)  # userfaultfd, user mode only


def own_syscall() -> str:
    os.getppid()
    return ""


def name_myself(name: str) -> None:
    libc.prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def pids_named(name: str) -> list[int]:
    """Processes that this /proc shows under a name of at most 15 characters."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open("/proc/" + entry + "/comm", encoding="utf-8", errors="replace") as comm:
                if entry.isdigit() and comm.read().rstrip("\n") == name:
                    found.append(int(entry))
        except OSError:
            continue
    return found


def see_process(name: str) -> str:
    if not pids_named(name):
        raise failed(errno.ESRCH)
    return ""


def see_own_process(name: str) -> str:
    name_myself(name)
    return see_process(name)


def holder(name: str) -> str:
    """What the process that left daemon `name` behind is called."""
    return "h" + name[:14]


def linger(name: str) -> str:
    """Leave a daemon behind that has nothing to do with us any more, and stay; both can be found by name."""
    name_myself(holder(name))
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            name_myself(name)
            time.sleep(60)
        os._exit(0)
    time.sleep(60)
    return ""


# -- devices and what is inherited -----------------------------------------------------------------


def open_device(path: str, write: bool = True) -> str:
    """ENXIO and ENODEV come from the node itself: it is there and may be opened, but no driver answers."""
    try:
        mode = os.O_RDWR if write else os.O_RDONLY
        os.close(os.open(path, mode | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as problem:
        if problem.errno not in (errno.ENXIO, errno.ENODEV):
            raise
        return "passed through, no driver"
    return ""


def see_variable(name: str, value: str) -> str:
    """Under whatever name: the value is what must not arrive."""
    if value not in os.environ.values():
        raise failed(errno.ENOENT)
    return ""


def see_descriptor(link: str) -> str:
    for entry in os.listdir("/proc/self/fd"):
        try:
            if int(entry) > 2 and os.readlink("/proc/self/fd/" + entry) == link:
                return entry
        except OSError:
            continue
    raise failed(errno.EBADF)


def own_descriptors() -> str:
    for descriptor in (0, 1, 2):
        os.fstat(descriptor)
    return ""


OPERATIONS: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (
        create, edit, leave, read, rename, writable,
        reach_tcp, send_udp, own_loopback, reach_unix, reach_any_unix, send_unix, own_socketpair,
        namespaces, status, user_namespace, own_child, forbidden, own_syscall,
        see_process, see_own_process, linger,
        open_device, see_variable, see_descriptor, own_descriptors,
    )
}  # fmt: skip


# Seconds for operations that may take longer than the others.
LIMITS: dict[str, float] = {}


def try_one(operation: str, arguments: dict[str, Any]) -> dict[str, object]:
    try:
        return {"ok": True, "value": OPERATIONS[operation](**arguments)}
    except socket.timeout:  # noqa: UP041 - another class before Python 3.10
        return {"ok": False, "errno": "ETIMEDOUT"}
    except OSError as problem:
        return {"ok": False, "errno": errno.errorcode.get(problem.errno or 0, str(problem.errno))}


def start(operation: str, arguments: dict[str, Any]) -> tuple[int, int]:
    """(pid of the child that tries it, descriptor its outcome comes from)."""
    outcome, answer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(answer)
        return pid, outcome
    os.close(outcome)
    os.write(answer, json.dumps(try_one(operation, arguments)).encode())
    os._exit(0)


def finish(pid: int, outcome: int, limit: float) -> dict[str, object]:
    answered, _, _ = select.select([outcome], [], [], limit)
    if not answered:
        os.kill(pid, signal.SIGKILL)
    text = os.read(outcome, 65536) if answered else b""
    os.close(outcome)
    _, ended = os.waitpid(pid, 0)
    if text:
        return dict(json.loads(text))
    if not answered:
        return {"ok": False, "errno": "ETIMEDOUT"}
    return {"ok": False, "signal": os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else 0}


def main(attempts: list[tuple[str, dict[str, Any]]], limit: float = LIMIT) -> None:
    """Try each operation with its arguments; a JSON list of outcomes on stdout, in the same order.

    Of those with a limit of their own no further one is tried once one has hung: all would hang alike.
    """
    outcomes = []
    hung = False
    for operation, arguments in attempts:
        began = time.monotonic()
        if hung and operation in LIMITS:
            outcome: dict[str, object] = {"ok": False, "errno": "ETIMEDOUT"}
        else:
            outcome = finish(*start(operation, arguments), LIMITS.get(operation, limit))
            hung = hung or (operation in LIMITS and outcome.get("errno") == "ETIMEDOUT")
        outcomes.append({**outcome, "ms": int((time.monotonic() - began) * 1000)})
    sys.stdout.write(json.dumps(outcomes))
