"""The network without a policy that allows it, and what the IPC namespace keeps apart."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import time

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.oracle import reached_server, serve
from tests.escape.arena.world import World

NET = "own network namespace"
LESS = frozenset({"net"})
IPC = "own IPC namespace"
PEER = "10.99.0.2"


def _tcp(world: World) -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    world.params["port"] = listener.getsockname()[1]
    serve(world, listener)


def _tcp6(world: World) -> None:
    listener = socket.socket(socket.AF_INET6)
    listener.bind(("::1", 0))
    world.params["port"] = listener.getsockname()[1]
    serve(world, listener)


def _udp(world: World) -> None:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    world.params["port"] = listener.getsockname()[1]
    serve(world, listener)


def _name_server(world: World) -> None:
    """The host's own, at the address that its resolv.conf names."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 53))
    serve(world, listener)


def _peer(world: World) -> None:
    """Another machine: a network namespace at the other end of a cable."""
    other = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    world.stack.callback(other.wait)
    world.stack.callback(other.kill)
    while os.readlink(f"/proc/{other.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
        time.sleep(0.01)
    for words in (
        ["ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(other.pid)],
        ["ip", "addr", "add", "10.99.0.1/24", "dev", "cable"],
        ["ip", "link", "set", "cable", "up"],
        [*_inside(other.pid), "ip", "addr", "add", f"{PEER}/24", "dev", "cable"],
        [*_inside(other.pid), "ip", "link", "set", "cable", "up"],
    ):
        subprocess.run(words, check=True)
    world.stack.callback(subprocess.run, ["ip", "link", "del", "cable"], check=False)
    world.params |= {"peer": PEER, "port": 4000}
    serve(world, _listener_in(other.pid))


def _inside(pid: int) -> list[str]:
    return ["nsenter", "--net", f"--target={pid}"]


def _listener_in(pid: int) -> socket.socket:
    """A socket stays in the namespace in which it was made."""
    libc = ctypes.CDLL(None, use_errno=True)
    ours, theirs = (os.open(f"/proc/{who}/ns/net", os.O_RDONLY) for who in ("self", pid))
    libc.setns(theirs, 0)
    listener = socket.socket()
    listener.bind((PEER, 4000))
    libc.setns(ours, 0)
    os.close(ours)
    os.close(theirs)
    return listener


def _free_port(world: World) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        world.params["port"] = probe.getsockname()[1]


def _answers(world: World) -> bool:
    """A server of the workload can be reached from the host."""
    try:
        with socket.create_connection(("127.0.0.1", int(str(world.params["port"]))), timeout=2):
            return True
    except OSError:
        return False


def _shared_memory(world: World) -> None:
    """A segment of the user, as databases and X11 programs share."""
    numbers = world.config.numbers
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    key = int.from_bytes(os.urandom(3), "big") + 1
    segment = libc.syscall(numbers["shmget"], key, 4096, 0o1666)
    address = libc.syscall(numbers["shmat"], segment, None, 0)
    world.params["key"] = key
    world.kept["look"] = lambda: ctypes.string_at(address, 7) == b"escaped"
    world.stack.callback(libc.shmctl, segment, 0, None)


def _queue(world: World) -> None:
    """A POSIX message queue; they live in no directory that a mount could hide."""
    numbers, name = world.config.numbers, world.mark.encode()
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.syscall(numbers["mq_open"], name, os.O_CREAT | os.O_RDWR | os.O_NONBLOCK, 0o666, None)
    os.fchmod(queue, 0o666)
    buffer = ctypes.create_string_buffer(8192)
    librt = ctypes.CDLL("librt.so.1", use_errno=True)
    world.kept["look"] = lambda: librt.mq_receive(queue, buffer, 8192, None) > 0
    world.stack.callback(librt.mq_unlink, b"/" + name)


def _looked(world: World) -> bool:
    return bool(world.kept["look"]())


CONNECT = "socket.create_connection(({host}, port), timeout=2)"

ATTEMPTS = (
    Attempt(
        "connect-to-loopback",
        "a server of the host on 127.0.0.1",
        NET,
        LESS,
        CONNECT.format(host='"127.0.0.1"'),
        _tcp,
        reached_server,
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "connect-to-loopback-6",
        "a server of the host on ::1",
        NET,
        LESS,
        CONNECT.format(host='"::1"'),
        _tcp6,
        reached_server,
    ),
    Attempt(
        "send-to-loopback",
        "a datagram to 127.0.0.1",
        NET,
        LESS,
        'socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"escaped", ("127.0.0.1", port))',
        _udp,
        reached_server,
    ),
    Attempt(
        "connect-to-a-peer",
        "another machine on the host's network",
        NET,
        LESS,
        CONNECT.format(host="peer"),
        _peer,
        reached_server,
    ),
    Attempt(
        "ask-the-name-server",
        "a name whose first label is the message",
        NET,
        LESS,
        'os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"; socket.getaddrinfo("escaped.example.org", 80)',
        _name_server,
        reached_server,
    ),
    Attempt(
        "serve-the-host",
        "listen on every address and wait to be connected to",
        NET,
        LESS,
        'listener = socket.create_server(("0.0.0.0", port)); meet()',
        _free_port,
        during=_answers,
    ),
    Attempt(
        "write-shared-memory",
        "a System V segment of the user",
        IPC,
        frozenset({"ipc"}),
        """
_libc.syscall.restype = ctypes.c_long
address = call("shmat", call("shmget", key, 4096, 0), None, 0)
ctypes.memmove(address, b"escaped", 7)
""",
        _shared_memory,
        _looked,
    ),
    Attempt(
        "write-a-message-queue",
        "a POSIX message queue of the user",
        IPC,
        frozenset({"ipc"}),
        """
queue = call("mq_open", MARK.encode(), os.O_WRONLY, 0, None)
call("mq_timedsend", queue, b"escaped", 7, 0, None)
""",
        _queue,
        _looked,
    ),
)
