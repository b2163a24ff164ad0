"""Kernel uid 0, on a host with a kernel of its own: what root may write needs no capability at all.

/proc and /sys files are root's by their owner, so dropping capabilities and namespaces do not help; the
launcher therefore refuses to start a workload as root, and becomes the named account first.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.oracle import bystander, status
from tests.escape.arena.world import UID, World

FILES = {
    "core-pattern": ("/proc/sys/kernel/core_pattern", "|/tmp/escaped"),
    "the-module-loader": ("/proc/sys/kernel/modprobe", "/tmp/escaped"),
    "the-panic-setting": ("/proc/sys/kernel/panic", "77"),
}

# A kernel as Debian has it, with Landlock; it is emulated, and slow.
ON_DEBIANS = {"core-pattern": ("qemu",)}


def _remembered(path: str) -> Callable[[World], None]:
    def stage(world: World) -> None:
        file = Path(path)
        before = file.read_text()
        world.kept["before"] = before
        world.stack.callback(file.write_text, before)

    return stage


def _changed(path: str) -> Callable[[World], bool]:
    return lambda world: Path(path).read_text() != world.kept["before"]


def _as_dev(path: str) -> Callable[[World], None]:
    def stage(world: World) -> None:
        _remembered(path)(world)
        world.options = ["--user", "dev"]

    return stage


HANDLER = "/srv/core-handler"


def _cores_in_the_home(world: World) -> None:
    world.make("outside")
    _core_pattern(world, f"{world.at('outside')}/core")


def _core_handler(world: World) -> None:
    """As systemd, apport and abrt have it: root's program, which reads what the process had in memory."""
    script = f"#!/bin/sh\ngrep -ac '{world.mark}' > {world.at('handled')}\n"
    world.file(HANDLER, script, mode=0o755, root=True)
    _core_pattern(world, f"|{HANDLER}")


def _core_pattern(world: World, text: str) -> None:
    _remembered("/proc/sys/kernel/core_pattern")(world)
    Path("/proc/sys/kernel/core_pattern").write_text(text)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    world.prepare = lambda: resource.setrlimit(resource.RLIMIT_CORE, unlimited)


def _handled(world: World) -> bool:
    time.sleep(0.5)
    return world.at("handled").exists() and world.at("handled").read_text().strip() not in ("", "0")


def _group(world: World) -> Path:
    """A cgroup that is the user's own, as everything below a session's is."""
    if not Path("/sys/fs/cgroup/cgroup.procs").exists():
        subprocess.run(["mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"], check=True)
    group = Path("/sys/fs/cgroup/escape")
    group.mkdir()
    world.stack.callback(group.rmdir)
    for path in (group, *group.iterdir()):
        os.chown(path, UID, UID)
    world.params["group"] = str(group)
    return group


def _group_of_a_neighbour(world: World) -> None:
    group = _group(world)
    pid = bystander(world, "import time; print('up', flush=True); time.sleep(60)")
    (group / "cgroup.procs").write_text(str(pid))


def _ended(world: World) -> bool:
    time.sleep(0.1)
    return any(status(pid, "State")[:1] in ("Z", "") for pid in world.bystanders)


ATTEMPTS = (
    Attempt(
        "dump-a-core-outside",
        "kernel.core_pattern names a directory of the home: the kernel writes for whoever crashes",
        "read-only root",
        frozenset({"root"}),
        "os.abort()",
        _cores_in_the_home,
        lambda world: any(world.at("outside").iterdir()),
        host="kernel",
    ),
    Attempt(
        "crash-into-the-hosts-handler",
        "kernel.core_pattern names a program: root runs it outside, on what the workload left in its memory",
        "core dumps",
        frozenset({"launcher"}),
        "os.abort()",
        _core_handler,
        _handled,
        host="kernel",
        limit="core dumps go where the host sends them",
    ),
    Attempt(
        "end-a-group-of-processes",
        "cgroup.kill of a cgroup that is the user's own",
        "read-only root",
        frozenset({"root"}),
        'write(group + "/cgroup.kill", "1")',
        _group_of_a_neighbour,
        _ended,
        host="kernel",
        also=("qemu",),
    ),
    *(
        Attempt(
            f"set-{name}-as-root",
            path,
            "root refused",
            frozenset({"protect"}),
            f"write({path!r}, {text!r})",
            _remembered(path),
            _changed(path),
            as_root=True,
            refused="refusing to run as root",
            host="kernel",
            also=ON_DEBIANS.get(name, ()),
        )
        for name, (path, text) in FILES.items()
    ),
    *(
        Attempt(
            f"set-{name}-as-the-account",
            f"{path}, started by root with --user",
            "the account that root becomes",
            frozenset({"protect"}),
            f"write({path!r}, {text!r})",
            _as_dev(path),
            _changed(path),
            as_root=True,
            host="kernel",
            also=ON_DEBIANS.get(name, ()),
        )
        for name, (path, text) in FILES.items()
    ),
)
