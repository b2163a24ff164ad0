"""What a caller leaves open."""

from __future__ import annotations

import os
import socket
import time

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.oracle import bystander, changed, status, token_came_out
from tests.escape.arena.world import UID, World

CLOSED = "descriptors closed"
LESS = frozenset({"fds"})


def _file(world: World) -> None:
    secret = world.secret("/srv/roots-secret", root=True)
    _inherit(world, os.open(secret, os.O_RDONLY))


def _directory(world: World) -> None:
    world.make(".ssh", mode=0o700)
    world.secret(".ssh/id_ed25519")
    world.mask(".ssh")
    world.victim()
    _inherit(world, os.open(world.home, os.O_RDONLY))


def _connection(world: World) -> None:
    ours, theirs = socket.socketpair()
    world.stack.callback(ours.close)
    world.kept["ours"] = ours
    _inherit(world, theirs.detach())


def _listener(world: World) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    world.kept["port"] = listener.getsockname()[1]
    _inherit(world, listener.detach())


def _answered(world: World) -> bool:
    """Whoever connects to the port is greeted from inside."""
    with socket.create_connection(("127.0.0.1", world.kept["port"]), timeout=2) as connection:
        connection.settimeout(1)
        try:
            return bool(connection.recv(7) == b"escaped")
        except OSError:
            return False


def _arrived(world: World) -> bool:
    world.kept["ours"].setblocking(False)
    try:
        return bool(world.kept["ours"].recv(100) == b"escaped")
    except OSError:
        return False


def _directory_as_stdin(world: World) -> None:
    _directory(world)
    world.stdin = world.pass_fds.pop()


def _reopened(world: World) -> None:
    """`fleetbox-run … < file`: opened for reading only."""
    world.victim()
    world.stdin = os.open(str(world.params["victim"]), os.O_RDONLY)
    world.stack.callback(os.close, world.stdin)


def _shared_pipe(world: World) -> None:
    """`cat script | sh`, where the script starts a sandbox: what comes next in the pipe, the shell runs."""
    ours, theirs = os.pipe()
    os.fchown(ours, UID, UID)
    world.stdin = ours
    world.kept["pipe"] = ours
    for fd in (ours, theirs):
        world.stack.callback(os.close, fd)


def _came_through_the_pipe(world: World) -> bool:
    os.set_blocking(world.kept["pipe"], False)
    try:
        return b"escaped" in os.read(world.kept["pipe"], 100)
    except OSError:
        return False


def _process_as_stdin(world: World) -> None:
    """A handle of a host process; it needs no number of one."""
    world.stdin = os.pidfd_open(bystander(world, "import time; print('up', flush=True); time.sleep(60)"))
    world.stack.callback(os.close, world.stdin)


def _ended(world: World) -> bool:
    time.sleep(0.1)
    return any(status(pid, "State")[:1] in ("Z", "") for pid in world.bystanders)


def _inherit(world: World, fd: int) -> None:
    world.pass_fds.append(fd)
    world.params["fd"] = fd
    world.stack.callback(os.close, fd)


ATTEMPTS = (
    Attempt(
        "read-an-inherited-file",
        "a file of root that the caller has open",
        CLOSED,
        LESS,
        "print(os.read(fd, 100).decode())",
        _file,
        token_came_out,
    ),
    Attempt(
        "map-an-inherited-file",
        "the same with mmap, for every number",
        CLOSED,
        LESS,
        """
for number in range(3, 64):
    found = attempt(lambda: mmap.mmap(number, 0, prot=mmap.PROT_READ)[:])
    if found:
        print(found.decode(errors="replace"))
""",
        _file,
        token_came_out,
    ),
    Attempt(
        "walk-from-an-inherited-directory",
        "openat from a directory of the caller passes every mount by",
        CLOSED,
        LESS,
        """
print(os.read(os.open(".ssh/id_ed25519", os.O_RDONLY, dir_fd=fd), 100).decode())
os.write(os.open("outside/victim", os.O_WRONLY, dir_fd=fd), b"escaped")
""",
        _directory,
        lambda world: token_came_out(world) or changed(world),
        also=("bullseye",),
    ),
    Attempt(
        "speak-on-an-inherited-socket",
        "a connection that the caller has open",
        CLOSED,
        LESS,
        'os.write(fd, b"escaped")',
        _connection,
        _arrived,
    ),
    Attempt(
        "serve-on-an-inherited-listener",
        "a listening socket of the host's network",
        CLOSED,
        LESS,
        """
import threading
listener = socket.socket(fileno=fd); listener.settimeout(10)
threading.Thread(target=lambda: listener.accept()[0].sendall(b"escaped"), daemon=True).start()
meet()
""",
        _listener,
        during=_answered,
    ),
    Attempt(
        "walk-from-stdin",
        "a directory as standard input",
        "descriptors 0 to 2 looked at",
        frozenset({"launcher"}),
        'print(os.read(os.open(".ssh/id_ed25519", os.O_RDONLY, dir_fd=9), 100).decode())',
        _directory_as_stdin,
        token_came_out,
        refused="descriptor 0 is a directory",
        through="exec 9<&0 </dev/null",
    ),
    Attempt(
        "reopen-stdin-for-writing",
        "a file redirected for reading, through /proc/self/fd/0",
        "Landlock",
        frozenset({"launcher"}),
        'write("/proc/self/fd/0")',
        _reopened,
        changed,
    ),
    Attempt(
        "order-through-the-pipe-of-stdin",
        "a pipe from which the caller's shell reads its commands, opened again for writing",
        "descriptors 0 to 2 looked at",
        frozenset({"launcher"}),
        'os.write(os.open("/proc/self/fd/0", os.O_WRONLY | os.O_NONBLOCK), b"echo escaped\\n")',
        _shared_pipe,
        _came_through_the_pipe,
        limit="a pipe can be opened again the other way round",
    ),
    Attempt(
        "signal-through-stdin",
        "a process descriptor as standard input",
        "descriptors 0 to 2 looked at",
        frozenset({"pid"}),
        'call("pidfd_send_signal", 9, 9, None, 0)',
        _process_as_stdin,
        _ended,
        refused="descriptor 0 is",
        through="exec 9<&0 </dev/null",
    ),
)
