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


@dataclass(frozen=True)
class HostState:
    path: Path

    spec = property(lambda self: self.path / "spec.json")
    address = property(lambda self: self.path / "address")
    identity = property(lambda self: self.path / "identity")
    """The layer between the suite's tree and the changes: host keys, names, apt's proxy."""
    upper = property(lambda self: self.path / "upper")
    work = property(lambda self: self.path / "work")
    root = property(lambda self: self.path / "root")
    binds = property(lambda self: self.path / "binds")
    tree = property(lambda self: self.path / "tree")
    """Symbolic link to the suite's tree."""
    log = property(lambda self: self.path / "log")
    init = property(lambda self: self.path / "init.process")
    warden = property(lambda self: self.path / "warden.process")


@dataclass(frozen=True)
class LabState:
    path: Path

    @classmethod
    def named(cls, name: str) -> LabState:
        return cls(LABS / f"{PREFIX}{name}")

    @property
    def name(self) -> str:
        return self.path.name.removeprefix(PREFIX)

    lock = property(lambda self: self.path / "lock")
    keeper = property(lambda self: self.path / "keeper.process")
    netns = property(lambda self: self.path / "netns")
    """Symbolic link to the network namespace, held open by the keeper."""
    netns_id = property(lambda self: self.path / "netns.id")
    detached = property(lambda self: self.path / "detached")
    log = property(lambda self: self.path / "log")
    keys = property(lambda self: self.path / "keys")
    key = property(lambda self: self.keys / "id_ed25519")
    known_hosts = property(lambda self: self.path / "known_hosts")
    ssh_config = property(lambda self: self.path / "ssh_config")
    inventory = property(lambda self: self.path / "inventory.yml")
    control_paths = property(lambda self: self.path / "cp")
    home = property(lambda self: self.path / "home")
    addresses = property(lambda self: self.path / "addresses")
    hosts = property(lambda self: self.path / "hosts")

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
