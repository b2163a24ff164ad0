"""The files of a scene: planted in its own tree, in the user's home and in /tmp, and taken away again."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from typing import NamedTuple

from fleetbox.hostside.probes import attempts

DECOY = "fleetbox-decoy-"
# Credentials that are a file by nature; every other place is taken for a directory unless it is there as a
# file.
FILES = frozenset(
    {
        ".netrc", ".git-credentials", ".pgpass", ".npmrc", ".pypirc", ".vault-token", "credentials",
        "credentials.toml", ".bash_history", ".zsh_history",
    }
)  # fmt: skip


class Wanted(NamedTuple):
    """What the checks at hand need planted: places of credentials, and names of agents' settings.

    Of `startup`, files of the home directory, it is only asked what they are.
    """

    decoys: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    startup: tuple[str, ...] = ()
    plans: tuple[tuple[str, bytes], ...] = ()


class Planted:
    """What was made, to be removed again: the scene's own tree, and files in the user's home and in /tmp."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._trees = [root]
        self._files: list[str] = []
        self._directories: list[str] = []

    def within(self, path: str, text: str) -> None:
        """A new file below the root, with the directories it needs."""
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "x", encoding="utf-8") as out:
            out.write(text)

    def decoy(self, place: str, token: str) -> str:
        """The path of a readable secret where credentials are kept. A file that is there serves as it is."""
        if os.path.isfile(place):
            return place
        path = place if os.path.basename(place) in FILES else f"{place}/{DECOY}{token[:8]}"
        for missing in attempts.missing_parents(path):
            os.mkdir(missing, 0o700)
            self._directories.append(missing)
        self.outside(path, token)
        return path

    def annex(self, home: str, plans: tuple[tuple[str, bytes], ...]) -> str:
        """A second tree, where sandboxes see it and do not write it: not in /var/tmp, which may be either."""
        path = tempfile.mkdtemp(
            prefix=".fleetbox-probe-", dir=home if os.access(home, os.W_OK) else self.root
        )
        self._trees.append(path)
        os.mkdir(path + "/sockets", 0o700)
        os.mkdir(path + "/plans", 0o700)
        for name, content in plans:
            with open(f"{path}/plans/{name}", "xb") as out:
                out.write(content)
        return path

    def outside(self, path: str, token: str) -> None:
        """One new file outside the root."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        self._files.append(path)
        os.write(descriptor, f"# fleetbox conformance decoy, no secret, safe to delete: {token}\n".encode())
        os.close(descriptor)

    def remove(self) -> None:
        """Take everything away, whatever of it is still there."""
        for path in self._files:
            with suppress(OSError):
                os.unlink(path)
        for directory in reversed(self._directories):
            with suppress(OSError):
                os.rmdir(directory)
        for tree in self._trees:
            shutil.rmtree(tree, ignore_errors=True)


def plant(planted: Planted, wanted: Wanted, token: str) -> None:
    """Workspace, its neighbour and a file in /tmp."""
    root = planted.root
    for name in ("workspace", "beside"):
        os.mkdir(f"{root}/{name}", 0o700)
    planted.within(root + "/workspace/README", token)
    planted.within(root + "/beside/secret", token)
    for name in ("HEAD", "config", "hooks/README.sample"):
        planted.within(f"{root}/workspace/.git/{name}", token)
    # Every other name is missing when the launch begins: protecting those is the harder half.
    for name in wanted.settings[::2]:
        planted.within(f"{root}/workspace/{name}/settings.json", token)
    planted.outside(f"/tmp/fleetbox-host-{token}", token)  # noqa: S108 - exclusive, unguessable, our own


def decoys(planted: Planted, wanted: Wanted, home: str, token: str) -> tuple[str, ...]:
    """The path of a secret in each place of credentials."""
    places = (place.replace("${HOME}", home, 1) for place in wanted.decoys)
    return tuple(planted.decoy(place, token) for place in places)
