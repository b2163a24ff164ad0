"""Services of the host at their real places, where AF_UNIX is allowed because a GPU needs it.

Each is a stand-in that listens there; reaching docker's socket is being root on the host.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.escape.arena.attempt import Attempt, Stage
from tests.escape.arena.oracle import reached_server, unix_server
from tests.escape.arena.world import World

PLACES = {
    "docker": "/run/docker.sock",
    "docker-by-its-old-name": "/var/run/docker.sock",
    "containerd": "/run/containerd/containerd.sock",
    "podman": "/run/user/1000/podman/podman.sock",
    "the-session-bus": "/run/user/1000/bus",
    "the-system-bus": "/run/dbus/system_bus_socket",
    "systemd": "/run/systemd/private",
    "wayland": "/run/user/1000/wayland-0",
    "x11": "/tmp/.X11-unix/X0",
    "the-ssh-agent": "/tmp/ssh-escape/agent.1",
    "the-gpg-agent": "/home/dev/.gnupg/S.gpg-agent",
    "rootless-docker": "/run/user/1000/docker.sock",
    "the-keyring-daemon": "/run/user/1000/keyring/ssh",
    "the-user-manager": "/run/user/1000/systemd/private",
    "pipewire": "/run/user/1000/pipewire-0",
    "an-editors-window": "/run/user/1000/vscode-ipc-0.sock",
    "snapd": "/run/snapd.socket",
    "lxd": "/var/lib/incus/unix.socket",
    "nvidia-persistenced": "/run/nvidia-persistenced/socket",
    "nvidia-mps": "/tmp/nvidia-mps/control",
    "tmux": "/tmp/tmux-1000/default",
}


def _service(place: str) -> Stage:
    def stage(world: World) -> None:
        unix_server(world, place)
        world.params["path"] = place
        world.env["SSH_AUTH_SOCK"] = place
        if place.startswith(str(world.home)):
            world.mask(Path(place).parent)

    return stage


def _later(world: World) -> bool:
    """The service starts when the sandbox runs already."""
    unix_server(world, str(world.params["path"]))
    return False


def _place_for_later(world: World) -> None:
    """Not directly in the home, which is shown as it was at launch."""
    world.make("services")
    world.params["path"] = str(world.at("services/late.sock"))


def _renamed(world: World) -> None:
    """A service that binds a temporary name and renames it, as many do to be atomic."""
    unix_server(world, "temporary.sock")
    os.rename(world.at("temporary.sock"), world.at("final.sock"))
    world.params["path"] = str(world.at("final.sock"))


CONNECT = "socket.socket(socket.AF_UNIX).connect(path)"

ATTEMPTS = (
    *(
        Attempt(
            f"connect-to-{name}",
            place,
            "masks of sockets",
            frozenset({"masks", "tmp", "unix"}),
            CONNECT,
            _service(place),
            reached_server,
            policy="private",
        )
        for name, place in PLACES.items()
    ),
    Attempt(
        "connect-to-a-renamed-socket",
        "bound under another name than it has now",
        "masks of sockets",
        frozenset({"masks", "unix"}),
        CONNECT,
        _renamed,
        reached_server,
        policy="private",
    ),
    Attempt(
        "connect-to-a-late-socket",
        "a service of the home that starts after the launch",
        "masks of sockets",
        frozenset({"masks", "unix"}),
        "meet(); " + CONNECT,
        _place_for_later,
        reached_server,
        during=_later,
        policy="private",
        limit="sockets that appear after the launch outside masked directories",
    ),
)
