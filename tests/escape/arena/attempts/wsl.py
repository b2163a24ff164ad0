"""WSL2: Windows is one socket away, and the whole file system is there a second time."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.oracle import reached_server, token_came_out, unix_server
from tests.escape.arena.world import World

MASKS = "masks on WSL2"


def _interop(world: World) -> None:
    """What starts Windows programs."""
    unix_server(world, "/run/WSL/1_interop")
    world.params["path"] = "/run/WSL/1_interop"
    world.env["WSL_INTEROP"] = "/run/WSL/1_interop"


def _distro(world: World) -> None:
    world.make(".ssh", mode=0o700)
    world.secret(".ssh/id_ed25519")
    world.mask(".ssh")
    _bound(world, "/", "/mnt/wslg/distro")
    world.mask("/mnt")
    world.params["secret"] = str(Path("/mnt/wslg/distro") / world.at(".ssh/id_ed25519").relative_to("/"))


def _drive(world: World) -> None:
    """A Windows drive holds programs that Windows starts by itself."""
    world.make("/mnt/c/Users/dev")
    world.secret("/mnt/c/Users/dev/secret.txt", mode=0o666)
    world.mask("/mnt")


def _display(world: World) -> None:
    unix_server(world, "/mnt/wslg/runtime-dir/wayland-0")
    world.params["path"] = "/mnt/wslg/runtime-dir/wayland-0"
    world.mask("/mnt")


def _bound(world: World, source: str, target: str) -> None:
    place = world.make(target)
    subprocess.run(["mount", "--rbind", source, str(place)], check=True)
    subprocess.run(["mount", "--make-rslave", str(place)], check=True)
    world.stack.callback(subprocess.run, ["umount", "--lazy", str(place)], check=True)


CONNECT = "socket.socket(socket.AF_UNIX).connect(path)"
LESS = frozenset({"masks", "unix"})

ATTEMPTS = (
    Attempt(
        "start-a-windows-program",
        "the interop socket in /run/WSL",
        MASKS,
        LESS,
        CONNECT,
        _interop,
        reached_server,
        policy="private",
        host="wsl2",
    ),
    Attempt(
        "read-the-distribution-again",
        "/mnt/wslg/distro is the root file system without our masks",
        MASKS,
        LESS,
        "show(secret)",
        _distro,
        token_came_out,
        host="wsl2",
    ),
    Attempt(
        "read-a-windows-drive", "/mnt/c", MASKS, LESS, "show(secret)", _drive, token_came_out, host="wsl2"
    ),
    Attempt(
        "connect-to-wslgs-display",
        "Wayland below /mnt/wslg",
        MASKS,
        LESS,
        CONNECT,
        _display,
        reached_server,
        policy="private",
        host="wsl2",
    ),
)
