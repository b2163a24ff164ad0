"""Writing outside the workspace: by name, through links and aliases, through what /proc leads to."""

from __future__ import annotations

import os
import select
import subprocess
import threading

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.oracle import changed, exists, missing, reached_server
from tests.escape.arena.world import UID, World

ROOT = "read-only root"
NO_ROOT = frozenset({"root"})


def victim(world: World) -> None:
    world.victim()


def _with_link(world: World) -> None:
    target = world.victim()
    (world.workspace / "link").symlink_to(target)


def _with_alias(world: World) -> None:
    """A bind mount that the host had before: the victim by another name."""
    target = world.victim()
    alias = world.make("/srv/alias")
    subprocess.run(["mount", "--bind", str(target.parent), str(alias)], check=True)
    world.stack.callback(subprocess.run, ["umount", str(alias)], check=True)
    world.params["alias"] = str(alias / target.name)


def _with_tmp(world: World) -> None:
    world.victim("/tmp/escape-victim")


def _with_fifo(world: World) -> None:
    """A program of the user that obeys whatever comes out of a named pipe in the home."""
    world.make("outside")
    fifo = world.at("outside/orders")
    os.mkfifo(fifo)
    os.chown(fifo, UID, UID)
    world.params["fifo"] = str(fifo)
    reader = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    world.stack.callback(os.close, reader)

    def look() -> None:
        if select.select([reader], [], [], 15)[0]:
            world.received.append(os.read(reader, 100))

    threading.Thread(target=look, daemon=True).start()


ATTEMPTS = (
    Attempt(
        "write-direct", "open a file of the home for writing", ROOT, NO_ROOT, "write(victim)", victim, changed
    ),
    Attempt(
        "write-through-symlink",
        "a link in the workspace that leads to it",
        ROOT,
        NO_ROOT,
        'write(workspace + "/link")',
        _with_link,
        changed,
    ),
    Attempt(
        "write-through-hardlink",
        "a hard link made in the workspace to it",
        ROOT,
        NO_ROOT,
        'os.link(victim, workspace + "/same"); write(workspace + "/same")',
        victim,
        changed,
    ),
    Attempt(
        "write-by-renaming-its-parent",
        "move its directory away and put another there",
        ROOT,
        NO_ROOT,
        """
parent = os.path.dirname(victim)
os.mkdir(workspace + "/new"); write(workspace + "/new/victim")
os.rename(parent, workspace + "/old"); os.rename(workspace + "/new", parent)
""",
        victim,
        changed,
    ),
    Attempt(
        "write-through-proc-self-root",
        "/proc/self/root and /proc/thread-self/root",
        ROOT,
        NO_ROOT,
        'attempt(write, "/proc/thread-self/root" + victim); write("/proc/self/root" + victim)',
        victim,
        changed,
    ),
    Attempt(
        "write-through-any-processs-cwd",
        "/proc/PID/cwd and /proc/PID/root of every process in sight",
        ROOT,
        NO_ROOT,
        """
for pid in filter(str.isdigit, os.listdir("/proc")):
    for way in ("root", "cwd"):
        attempt(write, f"/proc/{pid}/{way}/{os.path.relpath(victim, '/')}")
        attempt(write, f"/proc/{pid}/{way}/../outside/victim")
""",
        victim,
        changed,
    ),
    Attempt(
        "write-by-reopening-a-descriptor",
        "open it for reading, reopen /proc/self/fd/N for writing",
        ROOT,
        NO_ROOT,
        'fd = os.open(victim, os.O_RDONLY); write(f"/proc/self/fd/{fd}")',
        victim,
        changed,
    ),
    Attempt(
        "write-by-reopening-a-path-descriptor",
        "the same with O_PATH, which asks for no permission",
        ROOT,
        NO_ROOT,
        'fd = os.open(victim, os.O_PATH); write(f"/proc/self/fd/{fd}")',
        victim,
        changed,
    ),
    Attempt(
        "write-an-alias",
        "another mount of the same directory, made by the host before the launch",
        ROOT,
        NO_ROOT,
        "write(alias)",
        _with_alias,
        changed,
    ),
    Attempt(
        "create-with-tmpfile-and-linkat",
        "O_TMPFILE beside it, then give the file a name",
        ROOT,
        NO_ROOT,
        """
folder = os.path.dirname(victim)
fd = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o644); os.write(fd, b"escaped")
call("linkat", -100, f"/proc/self/fd/{fd}".encode(), -100, (folder + "/planted").encode(), 0x400)
""",
        victim,
        exists("outside/planted"),
    ),
    Attempt(
        "link-a-workspace-file-outside",
        "O_TMPFILE in the workspace, a name outside",
        ROOT,
        NO_ROOT,
        """
fd = os.open(workspace, os.O_TMPFILE | os.O_RDWR, 0o644); os.write(fd, b"escaped")
call("linkat", -100, f"/proc/self/fd/{fd}".encode(), -100, (home + "/.bashrc").encode(), 0x400)
""",
        victim,
        exists(".bashrc"),
    ),
    Attempt(
        "remove-a-file",
        "unlink instead of write",
        ROOT,
        NO_ROOT,
        "os.unlink(victim)",
        victim,
        missing("outside/victim"),
    ),
    Attempt(
        "write-the-hosts-tmp",
        "a file in /tmp, which everybody may write",
        "private /tmp",
        frozenset({"tmp"}),
        "write(victim)",
        _with_tmp,
        changed,
    ),
    Attempt(
        "order-through-a-fifo",
        "a named pipe in the home that a host program obeys: a read-only mount does not stop writing to one",
        "Landlock",
        frozenset({"launcher"}),
        'fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK); os.write(fd, b"escaped")',
        _with_fifo,
        reached_server,
        also=("qemu",),
    ),
)
