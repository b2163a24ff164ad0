"""A home with a workspace, made afresh for each run, and what an attempt may do to it.

Runs as root. Everything below the home belongs to the workload's user; what is made elsewhere is remembered
and removed. Surprise: `token` is random for each run, so that no earlier run's leavings can look like a
success.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.escape.arena.config import Config

UID = 1000
HOME = Path("/home/dev")
WORKSPACE = HOME / "ws"
UNTOUCHED = "untouched"


class World:
    """The host as one run sees it."""

    def __init__(self, config: Config, stack: ExitStack, how: str) -> None:
        self.config, self.how = config, how
        self.stack = stack
        self.home, self.workspace = HOME, WORKSPACE
        self.token = secrets.token_hex(16)
        self.mark = f"escape-{secrets.token_hex(8)}"
        self.params: dict[str, object] = {
            "MARK": self.mark,
            "NUMBERS": config.numbers,
            "home": str(HOME),
            "workspace": str(WORKSPACE),
        }
        self.env: dict[str, str] = {}
        self.pass_fds: list[int] = []
        self.stdin: int | None = None
        self.prepare: Callable[[], None] = lambda: None
        self.masked: list[str] = []
        self.named: list[str] = []
        self.protected: list[str] = []
        self.victims: dict[str, str] = {}
        self.received: list[bytes] = []
        self.output = ""
        self.code: int | None = None
        self.pid = 0
        self.cwd = str(WORKSPACE)
        self.path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.options: list[str] = []
        self.bystanders: list[int] = []
        self.line = ""
        self.terminal = -1
        self.kept: dict[str, Any] = {}
        _empty(HOME)
        HOME.chmod(0o755)  # Debian 13 closes it, and root without capabilities could not come in
        self.make(WORKSPACE)

    def at(self, path: str | Path) -> Path:
        """Below the home unless absolute."""
        return HOME / path

    def make(self, path: str | Path, *, mode: int = 0o755) -> Path:
        """A directory with its parents, the user's own."""
        place = self.at(path)
        for missing in reversed([one for one in (place, *place.parents) if not one.exists()]):
            missing.mkdir()
            self._own(missing)
        place.chmod(mode)
        return place

    def file(self, path: str | Path, text: str = UNTOUCHED, *, mode: int = 0o644, root: bool = False) -> Path:
        """A file; `root` leaves it to root."""
        place = self.at(path)
        self.make(
            place.parent, mode=0o755 if not place.parent.exists() else place.parent.stat().st_mode & 0o7777
        )
        place.write_text(text)
        place.chmod(mode)
        if root:
            os.chown(place, 0, 0)
            place.chmod(mode)
        else:
            self._own(place)
        return place

    def victim(self, path: str | Path = "outside/victim", name: str = "victim") -> Path:
        """A file that must stay as it is; the payload knows it by `name`."""
        place = self.file(path)
        self.victims[str(place)] = UNTOUCHED
        self.params[name] = str(place)
        return place

    def secret(
        self, path: str | Path, name: str = "secret", *, mode: int = 0o600, root: bool = False
    ) -> Path:
        """A file with the token; the payload knows its path by `name`."""
        place = self.file(path, f"{self.token}\n", mode=mode, root=root)
        self.params[name] = str(place)
        return place

    def mask(self, path: str | Path, *, named: bool = True) -> None:
        """A place that the reference sandbox denies, and so does the policy under test when it is `named`."""
        self.masked.append(str(self.at(path)))
        if named:
            self.named.append(str(self.at(path)))

    def _own(self, place: Path) -> None:
        os.chown(place, UID, UID, follow_symlinks=False)
        if not place.is_relative_to(HOME):
            self.stack.callback(_remove, place)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        _remove(path)


def _remove(path: Path) -> None:
    """Never into a mount that an attempt left: it may be the host's own root."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", str(path)], check=True)
