"""The reference sandbox: raw bubblewrap with every defence that it can give, less what an attempt takes away.

Parts that may be missing (`Attempt.without`):
`root` read-only; `user` `pid` `ipc` `net` namespaces; `session` and `die`; `caps` dropped; `userns` disabled;
own `dev` and `tmp`; `protect`ed names; `masks`; `env` and `fds` cleaned; `filter`, or `filter:CALL,CALL` for
the product's own filter less these calls.
Three words stand alone: `launcher`: nothing is missing, what bubblewrap does not do is targeted;
`sandbox`: there is none at all; `policy:NAME`: the product itself under a weaker policy.
"""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

from tests.escape.arena import bpf
from tests.escape.arena.attempt import Attempt
from tests.escape.arena.world import World

PROTECTED = (".git", ".codex", ".agents", ".claude", ".aws")
RUN = "/run"


@lru_cache(maxsize=1)
def _help(bwrap: str) -> str:
    done = subprocess.run([bwrap, "--help"], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def argv(world: World, attempt: Attempt) -> tuple[list[str], list[int]]:
    """The command up to and including `--`, and the descriptors it reads."""
    bwrap = world.config.bwrap
    less = attempt.without
    words = [
        "bwrap" if "path" in less else bwrap,
        *_namespaces(bwrap, less, attempt.terminal),
        *_root(world, less),
    ]
    words += ["--proc", "/proc", "--chdir", str(world.workspace)]
    fds = []
    if "filter" not in less:
        fds.append(bpf.in_memory(_filter(world, attempt)))
        words += ["--seccomp", str(fds[0])]
    return [*words, "--"], fds


def _namespaces(bwrap: str, less: frozenset[str], terminal: bool) -> list[str]:
    words = ["--unshare-uts"]
    words += [f"--unshare-{name}" for name in ("user", "pid", "ipc", "net") if name not in less]
    words += [] if terminal or "session" in less else ["--new-session"]
    words += [] if "die" in less else ["--die-with-parent"]
    words += ["--cap-add", "ALL"] if "caps" in less else ["--cap-drop", "ALL"]
    if not less & {"userns", "caps", "user"} and "--disable-userns" in _help(bwrap):
        words += ["--disable-userns"]
    return words


def _root(world: World, less: frozenset[str]) -> list[str]:
    words = ["--bind" if "root" in less else "--ro-bind", "/", "/"]
    words += ["--dev-bind", "/dev", "/dev"] if less & {"dev", "caps"} else ["--dev", "/dev"]
    if "dev" not in less:
        words += ["--tmpfs", "/dev/shm"]
    for place in ("/tmp", "/var/tmp"):
        words += ["--bind", place, place] if "tmp" in less else ["--tmpfs", place]
    if "root" not in less:
        words += ["--bind", str(world.workspace), str(world.workspace)]
    names = [*([] if "protect" in less else PROTECTED), *world.protected]
    words += [word for name in names for word in _protected(str(world.workspace / name))]
    if "masks" not in less:
        words += [word for path in (*world.masked, RUN) if os.path.exists(path) for word in _mask(path)]
    return words


def _protected(path: str) -> list[str]:
    if os.path.exists(path):
        return ["--ro-bind", path, path]
    return ["--tmpfs", path, "--remount-ro", path]


def _mask(path: str) -> list[str]:
    if os.path.isdir(path):
        return ["--tmpfs", path, "--remount-ro", path]
    return ["--ro-bind", "/dev/null", path]


def _filter(world: World, attempt: Attempt) -> bytes:
    variant = "unix" if "unix" in attempt.without else "nounix"
    file = Path(world.config.generation) / f"seccomp-{world.config.machine}-{variant}.bpf"
    calls = [name for word in attempt.without if word.startswith("filter:") for name in word[7:].split(",")]
    return bpf.without(file.read_bytes(), [world.config.numbers[name] for name in calls])
