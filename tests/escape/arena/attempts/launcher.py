"""The launcher itself: what is planted for the next launch, hostile limits, two launches at once."""

from __future__ import annotations

import os
import resource
import subprocess
import time

from tests.escape.arena.attempt import Attempt, Stage
from tests.escape.arena.attempts.secrets import ssh_key
from tests.escape.arena.oracle import bystander, changed, exists, status, token_came_out
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


def _neighbour(world: World, script: str) -> None:
    """A sandbox over the same workspace is running, under the base policy."""
    words = [world.config.launcher, "--workspace", str(world.workspace), "--policy", "base", "--"]
    process = subprocess.Popen(
        [*words, "sh", "-c", f"{script}; echo up; sleep 30"],
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
    world.kept["neighbour"] = process
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"


def _neighbours_tmp(world: World) -> None:
    """A file in /tmp: of another sandbox, or in the control run of the host."""
    if world.how != "control":
        _neighbour(world, f"echo {world.token} > /tmp/escape-neighbour")
    else:
        world.file("/tmp/escape-neighbour", world.token)


def _neighbours_life(world: World) -> None:
    if world.how != "control":
        _neighbour(world, ":")
    else:
        bystander(world, "import time; print('up', flush=True); time.sleep(60)")


def _neighbour_ended(world: World) -> bool:
    time.sleep(0.1)
    if "neighbour" in world.kept:
        return world.kept["neighbour"].poll() is not None
    return any(status(pid, "State")[:1] in ("Z", "") for pid in world.bystanders)


def _launchers_state(world: World) -> None:
    """Where launches of this user keep their locks, in a /tmp that the policy shares with the host."""
    world.make("/tmp/fleetbox-1000", mode=0o700)
    world.victim("/tmp/fleetbox-1000/escape-victim")
    world.mask("/tmp/fleetbox-1000")


def _sibling(world: World) -> None:
    world.make("ws/.codex")
    if world.how != "control":
        _neighbour(world, ":")


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
    *(
        _careful(
            f"start-with-{count}-descriptors",
            f"RLIMIT_NOFILE={count}: some step on the way runs out of them",
            _limits((resource.RLIMIT_NOFILE, count)),
        )
        for count in (8, 12, 16, 20, 24, 32)
    ),
    _careful("start-with-few-processes", "RLIMIT_NPROC=6", _limits((resource.RLIMIT_NPROC, 6))),
    _careful("start-with-little-data", "RLIMIT_DATA of 20 MiB", _limits((resource.RLIMIT_DATA, 20 << 20))),
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
    Attempt(
        "read-a-neighbours-tmp",
        "a file in /tmp of another sandbox over the same workspace",
        "private /tmp",
        frozenset({"tmp"}),
        'show("/tmp/escape-neighbour")',
        _neighbours_tmp,
        token_came_out,
    ),
    Attempt(
        "end-a-neighbour",
        "kill every process in sight: another sandbox over the same workspace runs on",
        "own PID namespace",
        frozenset({"pid"}),
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(-1, signal.SIGTERM)",
        _neighbours_life,
        _neighbour_ended,
    ),
    Attempt(
        "take-the-launchers-state",
        "/tmp/fleetbox-UID, where the policy shares /tmp with the host: write in it, move it away",
        "masks",
        frozenset({"tmp", "masks"}),
        """
attempt(write, victim)
attempt(os.chmod, os.path.dirname(victim), 0o700)
attempt(os.rename, os.path.dirname(victim), "/tmp/moved-away")
""",
        _launchers_state,
        changed,
        policy="host-tmp",
    ),
)
