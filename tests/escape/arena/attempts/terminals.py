"""A workload on the terminal of the person who started it."""

from __future__ import annotations

import os
import pty
import select
import signal

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.world import UID, World

# Typed back by the payload: a shell would run it once the sandbox has ended.
TYPE = 'for letter in b"echo escaped\\n": fcntl.ioctl(0, {request}, bytes([letter]))'


def typed(world: World) -> bool:
    """Something waits in the terminal's input queue."""
    ready, _, _ = select.select([world.terminal], [], [], 0.2)
    return bool(ready) and b"echo" in os.read(world.terminal, 100)


def _wide(request: str) -> str:
    return f"""
for letter in b"echo escaped\\n":
    call("ioctl", 0, {request}, ctypes.create_string_buffer(bytes([letter])))
"""


def _another_terminal(world: World) -> None:
    """Another terminal of the same user."""
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    os.chown(name, UID, -1)
    world.params["other"] = name
    world.kept["other"] = master
    world.stack.callback(os.close, master)
    world.stack.callback(os.close, slave)


def _shown(world: World) -> bool:
    ready, _, _ = select.select([world.kept["other"]], [], [], 0.2)
    return bool(ready) and b"escaped" in os.read(world.kept["other"], 100)


def _shell_was_signalled(world: World) -> bool:
    """The stand-in for a shell, in the launcher's process group, was ended by the signal."""
    return world.code == -signal.SIGUSR1


ATTEMPTS = (
    Attempt(
        "type-into-the-terminal",
        "TIOCSTI: a command for the shell that comes next",
        "seccomp filter",
        frozenset({"filter:ioctl"}),
        TYPE.format(request="0x5412"),
        succeeded=typed,
        terminal=True,
        also=("bullseye",),
    ),
    Attempt(
        "type-with-high-bits",
        "TIOCSTI with bits above the 32 that the kernel looks at",
        "seccomp filter",
        frozenset({"filter:ioctl"}),
        _wide("1 << 32 | 0x5412"),
        succeeded=typed,
        terminal=True,
    ),
    Attempt(
        "signal-the-callers-group",
        "kill(0): everybody in the process group, the shell's script included",
        "own process group",
        frozenset({"launcher"}),
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN); os.kill(0, signal.SIGUSR1)",
        succeeded=_shell_was_signalled,
        terminal=True,
    ),
    Attempt(
        "write-to-another-terminal",
        "/dev/pts/N of the same user",
        "own /dev",
        frozenset({"dev"}),
        "write(other)",
        _another_terminal,
        _shown,
    ),
)
