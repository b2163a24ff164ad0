"""What a caller's environment gives away, or makes programs do that run before the sandbox."""

from __future__ import annotations

from pathlib import Path

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.attempts.secrets import ssh_key
from tests.escape.arena.oracle import changed, reached_server, token_came_out, unix_server
from tests.escape.arena.world import World

CLEAN = "clean environment"
LESS = frozenset({"env"})


def _token(world: World) -> None:
    world.env["GITHUB_TOKEN"] = world.token


def _agent(world: World) -> None:
    """The variable names the agent's socket, in a directory that no policy can know."""
    unix_server(world, "runtime/agent.sock")
    world.env["SSH_AUTH_SOCK"] = str(world.at("runtime/agent.sock"))


def _planted_library(world: World) -> None:
    """A library in the workspace that the caller's LD_PRELOAD names: whatever links dynamically runs it."""
    world.victim()
    library = world.workspace / "planted.so"
    library.write_bytes(world.config.library)
    library.chmod(0o755)
    world.env |= {"LD_PRELOAD": str(library), "ESCAPE_VICTIM": str(world.params["victim"])}


def _planted_program(world: World) -> None:
    """A bwrap in the workspace, which the caller's PATH names first."""
    world.victim()
    script = f'#!/bin/sh\necho escaped > {world.params["victim"]}\nexec {world.config.bwrap} "$@"\n'
    world.file("ws/bwrap", script, mode=0o755)
    world.path = f".:{world.workspace}:{world.path}"
    _own_plan(world)


def _in_the_key_directory(world: World) -> None:
    """The caller's shell stands where the policy denies everything."""
    ssh_key(world)
    world.cwd = str(world.at(".ssh"))


def _own_plan(world: World) -> None:
    """As `fleetbox run` would: the launch plan belongs to the user, and no bwrap is provisioned for it."""
    folder = world.make("plan", mode=0o700)
    for file in Path(world.config.generation).iterdir():
        if file.is_file():
            world.file(folder / file.name).write_bytes(file.read_bytes())
            (folder / file.name).chmod(0o600)
    world.options = ["--plan", str(folder / "launch.plan")]


ATTEMPTS = (
    Attempt(
        "read-a-token-variable",
        "GITHUB_TOKEN of the caller",
        CLEAN,
        LESS,
        "print(dict(os.environ))",
        _token,
        token_came_out,
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "read-process-1s-environment",
        "/proc/*/environ: what the stages before had",
        CLEAN,
        LESS,
        'for pid in filter(str.isdigit, os.listdir("/proc")): show(f"/proc/{pid}/environ")',
        _token,
        token_came_out,
    ),
    Attempt(
        "follow-the-agents-variable",
        "SSH_AUTH_SOCK, where AF_UNIX is allowed",
        "clean environment, masks of sockets",
        LESS | {"unix"},
        """
path = os.environ.get("SSH_AUTH_SOCK", home + "/runtime/agent.sock")
socket.socket(socket.AF_UNIX).connect(path)
""",
        _agent,
        reached_server,
        policy="private",
    ),
    Attempt(
        "preload-a-library",
        "LD_PRELOAD of the caller, a library of the workspace: runs in bubblewrap, outside",
        "static launcher, clean environment",
        LESS,
        "pass",
        _planted_library,
        changed,
    ),
    Attempt(
        "start-in-a-denied-directory",
        "the caller's working directory: a mask over it comes too late for whoever is in it already",
        "start directory entered anew",
        frozenset({"sandbox"}),
        """
for place in ("id_ed25519", "./id_ed25519", "/proc/self/cwd/id_ed25519", "../.ssh/id_ed25519"):
    show(place)
""",
        _in_the_key_directory,
        token_came_out,
        may_be_refused=True,
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "plant-a-bwrap",
        "a bwrap in the workspace and a PATH that begins there, with a plan of the user's own",
        "which bwrap",
        frozenset({"path"}),
        "pass",
        _planted_program,
        changed,
        policy="own",
    ),
)
