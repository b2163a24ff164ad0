"""Where trust is kept on the control machine: `$STATE_DIR/trust`, and who may read what there.

The two repositories are public, plain files; keys and changes that wait for signatures are this account's
alone. Whoever can write the directory decides what hosts run, so one that others can write is refused.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from fleetbox.errors import TrustRefused
from fleetbox.hostside.release import ASSIGNMENT_REPOSITORY, POLICY_REPOSITORY

REPOSITORIES = (POLICY_REPOSITORY, ASSIGNMENT_REPOSITORY)
PUBLIC_DIR, PRIVATE_DIR = 0o755, 0o700
PUBLIC_FILE, PRIVATE_FILE = 0o644, 0o600


@dataclass(frozen=True)
class Places:
    """All paths below one state directory."""

    state_dir: Path

    @property
    def trust(self) -> Path:
        """What a backup must hold."""
        return self.state_dir / "trust"

    @property
    def keys(self) -> Path:
        """Private keys of this machine, and what it knows of the others."""
        return self.trust / "keys"

    @property
    def pending(self) -> Path:
        """Changes that wait for signatures."""
        return self.trust / "pending"

    @property
    def lock(self) -> Path:
        """Held by whoever changes anything."""
        return self.trust / "lock"

    def metadata(self, repository: str) -> Path:
        """The metadata folder of a repository, as a web server would serve it."""
        return self.trust / repository / "metadata"

    def targets(self, repository: str) -> Path:
        """The targets folder of a repository."""
        return self.trust / repository / "targets"

    def prepare(self) -> None:
        """Make the directories, each with the mode that it keeps. Raises OSError."""
        self.state_dir.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
        for private in (self.trust, self.keys, self.pending):
            private.mkdir(mode=PRIVATE_DIR, exist_ok=True)
        for repository in REPOSITORIES:
            for public in (self.metadata(repository), self.targets(repository)):
                public.parent.mkdir(mode=PUBLIC_DIR, exist_ok=True)
                public.mkdir(mode=PUBLIC_DIR, exist_ok=True)

    def check(self) -> None:
        """Refuse directories that are not ours alone to write. Raises TrustRefused, OSError."""
        repositories = [folder(one) for one in REPOSITORIES for folder in (self.metadata, self.targets)]
        for path in (self.trust, self.keys, self.pending, *repositories):
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                raise _unsafe(path, "is not a directory, or is a link")
            if status.st_uid != os.geteuid():
                raise _unsafe(path, f"belongs to uid {status.st_uid}")
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise _unsafe(path, f"can be written by others (mode {stat.S_IMODE(status.st_mode):04o})")


def _unsafe(path: Path, problem: str) -> TrustRefused:
    return TrustRefused(
        f"{path} {problem}", hint="find out who changed it, then restore it from a backup (docs/trust.md)"
    )
