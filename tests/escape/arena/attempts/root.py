"""Kernel uid 0, on a host with a kernel of its own: what root may write needs no capability at all.

/proc and /sys files are root's by their owner, so dropping capabilities and namespaces do not help; the
launcher therefore refuses to start a workload as root, and becomes the named account first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.world import World

FILES = {
    "core-pattern": ("/proc/sys/kernel/core_pattern", "|/tmp/escaped"),
    "the-module-loader": ("/proc/sys/kernel/modprobe", "/tmp/escaped"),
    "the-panic-setting": ("/proc/sys/kernel/panic", "77"),
}


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


ATTEMPTS = (
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
        )
        for name, (path, text) in FILES.items()
    ),
)
