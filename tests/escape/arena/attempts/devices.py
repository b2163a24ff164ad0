"""Device nodes and shared memory that no policy declared."""

from __future__ import annotations

import os

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.oracle import changed, descriptors, payloads
from tests.escape.arena.world import World

DEV = "own /dev"
LESS = frozenset({"dev"})
NODE = "/dev/undeclared"
NUMBER = os.makedev(1, 7)


def _opened(world: World) -> bool:
    """A descriptor of the payload leads to that device, by whatever name."""
    for pid in payloads(world):
        for number in descriptors(pid):
            try:
                st = os.stat(f"/proc/{pid}/fd/{number}")
            except OSError:
                continue
            if st.st_rdev == NUMBER:
                return True
    return False


def _shared(world: World) -> None:
    world.victim("/dev/shm/escape-victim")


ATTEMPTS = (
    Attempt(
        "open-an-undeclared-device",
        "a node in the host's /dev that everybody may open, with a driver behind it",
        DEV,
        LESS,
        f"fd = os.open({NODE!r}, os.O_RDWR); meet()",
        during=_opened,
        host="gpu",
    ),
    Attempt(
        "open-an-undeclared-device-with-a-gpu",
        "the same under the policy that binds GPUs",
        DEV,
        LESS,
        f"fd = os.open({NODE!r}, os.O_RDWR); meet()",
        during=_opened,
        host="gpu",
        policy="gpu-workstation",
    ),
    Attempt(
        "write-the-hosts-shared-memory", "a file in /dev/shm", DEV, LESS, "write(victim)", _shared, changed
    ),
)
