"""Where a lab keeps what: one folder per lab, one folder per host in it, every name written once.

A lab's folder is its registration: its keeper holds a lock in it, so a lab whose lock is free is stale. It
is closed to everybody else: the hosts' files in it belong to ids that an ordinary user of this machine
might have.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Not /tmp: it is a tmpfs on many machines, and an overlay's upper directory may grow by an apt run.
LABS = Path("/var/tmp")
PREFIX = "fleetbox-lab-"


class Part:
    """A file or folder inside the folder of what has this attribute."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, whole: HostState | LabState, _kind: type | None = None) -> Path:
        return whole.path / self._name


@dataclass(frozen=True)
class HostState:
    path: Path

    spec = Part("spec.json")
    address = Part("address")
    identity = Part("identity")
    """The layer between the suite's tree and the changes: host keys, names, apt's proxy."""
    upper = Part("upper")
    work = Part("work")
    root = Part("root")
    binds = Part("binds")
    tree = Part("tree")
    """Symbolic link to the suite's tree."""
    disk = Part("disk")
    """What a host with a kernel of its own has written, and what makes it this host."""
    power_cut = Part("power-cut")
    """There while such a host is down only to come up again."""
    log = Part("log")
    init = Part("init.process")
    warden = Part("warden.process")


@dataclass(frozen=True)
class LabState:
    path: Path

    @classmethod
    def named(cls, name: str) -> LabState:
        return cls(LABS / f"{PREFIX}{name}")

    @property
    def name(self) -> str:
        return self.path.name.removeprefix(PREFIX)

    lock = Part("lock")
    keeper = Part("keeper.process")
    netns = Part("netns")
    """Symbolic link to the network namespace, held open by the keeper."""
    netns_id = Part("netns.id")
    detached = Part("detached")
    log = Part("log")
    keys = Part("keys")
    key = Part("keys/id_ed25519")
    known_hosts = Part("known_hosts")
    ssh_config = Part("ssh_config")
    inventory = Part("inventory.yml")
    control_paths = Part("cp")
    home = Part("home")
    addresses = Part("addresses")
    hosts = Part("hosts")

    def host(self, name: str) -> HostState:
        return HostState(self.hosts / name)

    def each_host(self) -> list[HostState]:
        """Hosts whose description is on disk, by name."""
        return [HostState(file.parent) for file in sorted(self.hosts.glob("*/spec.json"))]

    def kept(self) -> bool:
        """Whether a keeper holds this lab right now."""
        try:
            handle = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One process at a time changes the lab's shared files (known hosts, inventory)."""
        with open(self.path / "changing", "w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def every_lab() -> list[LabState]:
    """All labs of this machine; a folder that root does not own is somebody's trap, not a lab."""
    folders = sorted(LABS.glob(f"{PREFIX}*"))
    return [
        LabState(one) for one in folders if not one.is_symlink() and one.is_dir() and one.lstat().st_uid == 0
    ]
