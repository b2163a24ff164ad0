"""Who decides: looks from outside the sandbox, as root, at files, sockets, processes, descriptors."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.escape.arena.attempt import Oracle
from tests.escape.arena.world import UID, World

_libc = ctypes.CDLL(None, use_errno=True)
PIDFD_GETFD = 438
SO_PROTOCOL, SO_DOMAIN = 38, 39


# --- files ---


def changed(world: World) -> bool:
    """A victim is gone, or is not what it was."""
    return any(
        not os.path.isfile(path) or Path(path).read_text() != text for path, text in world.victims.items()
    )


def token_came_out(world: World) -> bool:
    """The secret was printed, or left in a file of the workspace."""
    if world.token in world.output:
        return True
    files = (path for path in world.workspace.rglob("*") if path.is_file() and not path.is_symlink())
    return any(world.token.encode() in path.read_bytes() for path in files)


def exists(*names: str) -> Oracle:
    """An oracle: one of these is there on the host; relative to the home."""
    return lambda world: any(os.path.lexists(world.at(name)) for name in names)


def missing(*names: str) -> Oracle:
    """The opposite."""
    return lambda world: any(not os.path.lexists(world.at(name)) for name in names)


# --- processes ---


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def marked(mark: str) -> list[int]:
    """Processes that carry the mark in their arguments, this one and the launchers excepted."""
    found = []
    for pid in pids():
        words = _read(f"/proc/{pid}/cmdline").split(b"\0")
        if (
            pid != os.getpid()
            and words[0].endswith(b"python3")
            and any(mark.encode() in word for word in words)
        ):
            found.append(pid)
    return found


def payloads(world: World) -> list[int]:
    return marked(world.mark)


def end_all(mark: str) -> None:
    """Nothing of a run outlives it, whatever it did to stay."""
    for _ in range(50):
        left = marked(mark)
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def status(pid: int, field: str) -> str:
    for line in _read(f"/proc/{pid}/status").decode().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return ""


def has_capabilities(world: World) -> bool:
    """A process of the payload holds a capability, in whatever user namespace."""
    fields = ("CapEff", "CapPrm", "CapInh", "CapAmb")
    return any(int(status(pid, name) or "0", 16) for pid in payloads(world) for name in fields)


def has_bounding_set(world: World) -> bool:
    return any(int(status(pid, "CapBnd") or "0", 16) for pid in payloads(world))


def is_traced(world: World) -> bool:
    return any(int(status(pid, "TracerPid") or "0") for pid in [*payloads(world), *world.bystanders])


def sees_mount(world: World) -> bool:
    """The payload's mount table has a mount that it named itself."""
    return any(f" {world.mark} ".encode() in _read(f"/proc/{pid}/mountinfo") for pid in payloads(world))


def holds(kind: str) -> Oracle:
    """An oracle: a process of the payload has a descriptor of this kind open."""

    def look(world: World) -> bool:
        return any(kind in target for pid in payloads(world) for target in descriptors(pid).values())

    return look


def descriptors(pid: int) -> dict[int, str]:
    found = {}
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
    except OSError:
        pass
    return found


def sockets(world: World) -> Iterator[tuple[int, int]]:
    """Family and protocol of every socket that the payload holds; looked at through a copy of each."""
    for pid in payloads(world):
        handle = os.pidfd_open(pid)
        for number, target in descriptors(pid).items():
            if target.startswith("socket:"):
                copy = _libc.syscall(PIDFD_GETFD, handle, number, 0)
                if copy >= 0:
                    with socket.socket(fileno=copy) as held:
                        yield (
                            held.getsockopt(socket.SOL_SOCKET, SO_DOMAIN),
                            held.getsockopt(socket.SOL_SOCKET, SO_PROTOCOL),
                        )
        os.close(handle)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


# --- what a host has: processes and servers that an attempt goes for ---


def bystander(world: World, program: str, *arguments: str) -> int:
    """A process of the host, the user's own: Python that prints a line when it is ready. Its number."""
    process = subprocess.Popen(
        ["/usr/bin/python3", "-I", "-S", "-c", program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd="/",
        env={"PATH": world.path},
        user=UID,
        group=UID,
        extra_groups=[],
    )
    assert process.stdout is not None
    world.line = process.stdout.readline().decode().strip()
    world.bystanders.append(process.pid)
    world.stack.callback(process.communicate)
    world.stack.callback(process.kill)
    return process.pid


def serve(world: World, listener: socket.socket, answer: bytes = b"") -> None:
    """Remember what arrives, connections included; `answer` goes to whoever connects."""
    if listener.type == socket.SOCK_STREAM:
        listener.listen()
    ended = threading.Event()

    def work() -> None:
        with listener:
            while not ended.is_set():
                if select.select([listener], [], [], 0.02)[0]:
                    world.received.append(_receive(listener, answer))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    world.stack.callback(thread.join)  # or the next run finds the port in use
    world.stack.callback(ended.set)


def _receive(listener: socket.socket, answer: bytes) -> bytes:
    if listener.type != socket.SOCK_STREAM:
        return listener.recv(4096)
    connection, _ = listener.accept()
    with connection, suppress(OSError):
        connection.sendall(answer)
    return b"connected"


def reached_server(world: World) -> bool:
    """Something arrived; a datagram is queued at once, and a connection before connect(2) returns."""
    time.sleep(0.05)
    return bool(world.received)


def unix_server(world: World, path: str | Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
    """A stand-in for a service of the host, at the real place, open to everybody."""
    place = world.at(path)
    world.make(place.parent)
    listener = socket.socket(socket.AF_UNIX, kind)
    listener.bind(str(place))
    place.chmod(0o777)
    world.stack.callback(lambda: place.unlink(missing_ok=True))
    serve(world, listener, world.token.encode())
