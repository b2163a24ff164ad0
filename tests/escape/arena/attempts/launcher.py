"""The launcher itself: what is planted for the next launch, hostile limits, two launches at once."""

from __future__ import annotations

import os
import resource
import subprocess

from tests.escape.arena.attempt import Attempt, Stage
from tests.escape.arena.attempts.secrets import ssh_key
from tests.escape.arena.oracle import changed, exists, token_came_out
from tests.escape.arena.world import UID, World

NO_LAUNCHER = frozenset({"launcher"})
MASKS = frozenset({"masks"})


def _planted_link(world: World) -> None:
    """What CVE-2026-87766 was: bubblewrap makes the mountpoint of WS/.codex/rules where the link leads."""
    world.make("outside")
    (world.workspace / ".codex").symlink_to("/oldroot/home/dev/outside")
    world.protected.append(".codex/rules")


def _planted_parent(world: World) -> None:
    """A rule for ws/a/b/token; the workload of an earlier launch made ws/a a link."""
    world.secret("outside/b/token")
    (world.workspace / "a").symlink_to("../outside")
    world.mask("ws/a/b")


def _limits(*limits: tuple[int, int]) -> Stage:
    def stage(world: World) -> None:
        ssh_key(world)
        world.victim("ws/.git/config")

        def prepare() -> None:
            for kind, value in limits:
                resource.setrlimit(kind, (value, value))

        world.prepare = prepare

    return stage


def _umask(world: World) -> None:
    ssh_key(world)
    world.victim("ws/.git/config")

    def prepare() -> None:
        os.umask(0o777)

    world.prepare = prepare


def _closed(world: World) -> None:
    """Standard input and error closed: the first files that a careless launcher opens become these."""
    ssh_key(world)
    world.victim("ws/.git/config")

    def prepare() -> None:
        for fd in (0, 2):
            os.close(fd)

    world.prepare = prepare


def _sibling(world: World) -> None:
    """A sandbox over the same workspace is running, under the policy that protects."""
    world.make("ws/.codex")
    if world.how == "fleetbox":
        words = [world.config.launcher, "--workspace", str(world.workspace), "--policy", "base", "--"]
        process = subprocess.Popen(
            [*words, "sh", "-c", "echo up; sleep 30"],
            user=UID,
            group=UID,
            extra_groups=[],
            cwd=world.workspace,
            env={"PATH": world.path, "HOME": str(world.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        world.stack.callback(process.communicate)
        world.stack.callback(process.terminate)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"


def _outside_hook(world: World) -> bool:
    return exists("ws/.codex/config.toml")(world)


BOTH = "show(secret); attempt(write, victim)"


def _either(world: World) -> bool:
    return token_came_out(world) or changed(world)


def _careful(name: str, title: str, stage: Stage) -> Attempt:
    """Under a hostile start the launcher may refuse or hold, and nothing else."""
    return Attempt(
        name,
        title,
        "fails closed",
        MASKS | {"protect"},
        BOTH,
        stage,
        _either,
        may_be_refused=True,
    )


ATTEMPTS = (
    Attempt(
        "plant-a-link-for-the-next-launch",
        "WS/.codex -> /oldroot/…: bubblewrap would make a directory outside on the host",
        "no links on the way",
        frozenset({"protect"}),
        "pass",
        _planted_link,
        exists("outside/rules"),
        refused="symlink",
        also=("bullseye",),  # bubblewrap 0.12 does not follow it either
    ),
    Attempt(
        "plant-a-link-over-a-rule",
        "WS/a -> elsewhere, so that the rule for WS/a/b is about nothing",
        "no links on the way",
        frozenset({"masks"}),
        'show(home + "/outside/b/token"); show(workspace + "/a/b/token")',
        _planted_parent,
        token_came_out,
        policy="denied-below",
        refused="symlink",
    ),
    _careful("start-with-eight-descriptors", "RLIMIT_NOFILE=8", _limits((resource.RLIMIT_NOFILE, 8))),
    _careful("start-without-file-size", "RLIMIT_FSIZE=0", _limits((resource.RLIMIT_FSIZE, 0))),
    _careful("start-with-little-memory", "RLIMIT_AS of 64 MiB", _limits((resource.RLIMIT_AS, 64 << 20))),
    _careful(
        "start-without-locked-memory",
        "RLIMIT_MEMLOCK=0, RLIMIT_SIGPENDING=0, RLIMIT_CORE=0",
        _limits((resource.RLIMIT_MEMLOCK, 0), (resource.RLIMIT_SIGPENDING, 0), (resource.RLIMIT_CORE, 0)),
    ),
    _careful(
        "start-with-a-small-stack", "RLIMIT_STACK of 256 KiB", _limits((resource.RLIMIT_STACK, 256 << 10))
    ),
    _careful("start-with-umask-0777", "every file and directory made without any permission", _umask),
    _careful("start-with-closed-descriptors", "0 and 2 are closed", _closed),
    Attempt(
        "use-a-weaker-sibling",
        "a second launch over the workspace, whose policy does not protect .codex",
        "equal protect sets",
        frozenset({"policy:unprotected"}),
        'write(workspace + "/.codex/config.toml")',
        _sibling,
        _outside_hook,
        policy="unprotected",
        refused="protect",
    ),
)
