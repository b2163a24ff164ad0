"""What is neither content nor name: modes, times, attributes, and the bits that outlive a sandbox."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.escape.arena.attempt import Attempt, Oracle
from tests.escape.arena.world import World

ROOT = "read-only root"
LESS = frozenset({"root"})
FILTER = "seccomp filter"
NO_LAUNCHER = frozenset({"launcher"})


def _victim(world: World) -> None:
    _remember(world, world.victim())


def _protected(world: World) -> None:
    _remember(world, world.victim("ws/.git/config"))


def _stdin(world: World) -> None:
    """`fleetbox-run … < file`."""
    _victim(world)
    world.stdin = os.open(str(world.params["victim"]), os.O_RDONLY)
    world.stack.callback(os.close, world.stdin)


def _remember(world: World, path: Path) -> None:
    world.kept["path"] = path
    world.kept["before"] = _looks(path)


def _looks(path: Path) -> tuple[int, int, list[str]]:
    st = path.stat()
    return st.st_mode, st.st_mtime_ns, os.listxattr(path)


def _other(world: World) -> bool:
    return _looks(world.kept["path"]) != world.kept["before"]


def _left_program(bit: int) -> Oracle:
    """A program in the workspace that runs with the workload's rights, whoever starts it."""

    def look(world: World) -> bool:
        found = [path for path in world.workspace.rglob("*") if path.is_file()]
        return any(path.stat().st_mode & bit and path.stat().st_mode & stat.S_IXOTH for path in found)

    return look


LEAVE = """
import shutil
shutil.copy("/bin/sh", workspace + "/sh")
os.fchmod(os.open(workspace + "/sh", os.O_RDONLY), {mode})
"""
CHANGE = """
attempt(os.chmod, {place}, 0o666)
attempt(os.utime, {place}, (1, 1))
attempt(os.setxattr, {place}, "user.escaped", b"yes")
"""

ATTEMPTS = (
    Attempt(
        "change-attributes-outside",
        "mode, times and attributes of a file of the home, which Landlock does not look at",
        ROOT,
        LESS,
        CHANGE.format(place="victim"),
        _victim,
        _other,
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "change-attributes-through-a-descriptor",
        "the same of a file that is open for reading, and of one that is open as a path",
        ROOT,
        LESS,
        CHANGE.format(place="os.open(victim, os.O_RDONLY)")
        + 'fd = os.open(victim, os.O_PATH); attempt(os.chmod, f"/proc/self/fd/{fd}", 0o666)',
        _victim,
        _other,
    ),
    Attempt(
        "change-attributes-of-the-git-config",
        "a mode that lets others write it",
        "protected names",
        frozenset({"protect"}),
        CHANGE.format(place="victim"),
        _protected,
        _other,
    ),
    Attempt(
        "change-attributes-of-stdin",
        "a file redirected for reading: its descriptor comes from a mount that is writable",
        "descriptors 0 to 2 looked at",
        NO_LAUNCHER,
        CHANGE.format(place="0"),
        _stdin,
        _other,
        limit="a descriptor of the caller's comes from a mount of the host's",
    ),
    Attempt(
        "leave-a-set-user-id-program",
        "a copy of sh in the workspace with which every other account becomes this one",
        FILTER,
        frozenset({"filter:fchmod"}),
        LEAVE.format(mode="0o4755"),
        succeeded=_left_program(stat.S_ISUID),
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "create-a-set-user-id-program",
        "the same with the mode of openat, and a file that gets its name later",
        FILTER,
        frozenset({"filter:openat"}),
        """
os.umask(0)
attempt(os.open, workspace + "/sh", os.O_WRONLY | os.O_CREAT, 0o4755)
fd = os.open(workspace, os.O_WRONLY | os.O_TMPFILE, 0o4755)
call("linkat", -100, f"/proc/self/fd/{fd}".encode(), -100, (workspace + "/sh2").encode(), 0x400)
""",
        succeeded=_left_program(stat.S_ISUID),
    ),
    Attempt(
        "create-a-set-user-id-program-with-openat2",
        "the same with openat2, whose mode a filter cannot see",
        FILTER,
        frozenset({"filter:openat2"}),
        """
os.umask(0)
how = struct.pack("3Q", os.O_WRONLY | os.O_CREAT, 0o4755, 0)
call("openat2", -100, (workspace + "/sh").encode(), how, 24)
""",
        succeeded=_left_program(stat.S_ISUID),
    ),
    Attempt(
        "nested-leave-a-set-user-id-program",
        "the first one where sandboxes may nest: who makes images needs the bit",
        FILTER,
        frozenset({"filter:fchmod"}),
        LEAVE.format(mode="0o4755"),
        succeeded=_left_program(stat.S_ISUID),
        policy="nested",
        limit="where sandboxes may nest the filter leaves modes alone",
    ),
    Attempt(
        "leave-a-set-group-id-program",
        "the same with the set-group-id bit: a group of the user's for every other account",
        FILTER,
        NO_LAUNCHER,
        LEAVE.format(mode="0o2755"),
        succeeded=_left_program(stat.S_ISGID),
        limit="directories that a group shares have that bit, and every copy of them needs it",
    ),
)
