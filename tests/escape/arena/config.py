"""What the tests tell this host about itself: written once beside this package, when it is copied here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("config.json")

# Calls that payloads need and the filter does not name: x86_64, aarch64.
EXTRA = {
    "chroot": (161, 51),
    "clone": (56, 220),
    "clone3": (435, 435),
    "execveat": (322, 281),
    "fsopen": (430, 430),
    "linkat": (265, 37),
    "mq_open": (240, 180),
    "mq_timedsend": (242, 182),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "prlimit64": (302, 261),
    "renameat2": (316, 276),
    "sendmmsg": (307, 269),
    "shmat": (30, 196),
    "shmget": (29, 194),
}


@dataclass(frozen=True)
class Config:
    """Paths of the installed product, and system call numbers by name for this machine."""

    launcher: str
    bwrap: str
    generation: str
    machine: str
    numbers: dict[str, int]
    peers: str = ""

    @property
    def library(self) -> bytes:
        """A shared library whose constructor writes to the file that ESCAPE_VICTIM names."""
        return FILE.with_name("planted.so").read_bytes()

    @classmethod
    def read(cls) -> Config:
        return cls(**json.loads(FILE.read_text()))
