"""A directory that plays a host: verbs are run on it as by a push, what it holds is judged from outside.

Nothing here uses the program's own reading of its state: a tree is compared with the bundle as the standard
library's tarfile unpacks it.
"""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fleetbox.hostside import baseline
from tests.support.bundles import Built

REPO = Path(__file__).resolve().parents[3]


class Ended(NamedTuple):
    """How a verb ended; `answer` is its JSON, {} when it was killed first."""

    code: int
    answer: dict[str, Any]
    steps: list[str]

    @property
    def error(self) -> str:
        return str(self.answer["error"]["code"])


class HostTree:
    """One such directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "var/lib/fleetbox"
        for place in (self.state.parent, root / "var/log"):
            place.mkdir(parents=True, exist_ok=True)

    def run(
        self,
        *argv: str,
        stdin: bytes = b"",
        stop: str = "none",
        smoke: str = "pass",
        under: Sequence[str] = (),
        at: str = "",
    ) -> Ended:
        """Run a verb; `under` is a command that runs it, such as strace. `at`: the driver's TIME."""
        words = [
            *under,
            sys.executable,
            "-m",
            "tests.integration.hostside.driver",
            stop,
            smoke,
            str(self.root),
            *argv,
        ]
        done = subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            check=False,
            cwd=REPO,
            timeout=60,
            env={**os.environ, **({"TIME": at} if at else {})},
        )
        answer = json.loads(done.stdout) if done.stdout else {}
        return Ended(done.returncode, answer, done.stderr.decode().splitlines())

    def activate(
        self, built: Built, *more: str, stop: str = "none", smoke: str = "pass", narrows: bool = False
    ) -> Ended:
        """As a sender who knows that `built` takes nothing away of what is current, unless it `narrows`."""
        words = ["activate", built.digest, "--bundle", "-", *more]
        if not narrows and (current := self.digest()):
            words += ["--not-narrower-than", current]
        return self.run(*words, stdin=built.tar, stop=stop, smoke=smoke)

    def digest(self) -> str | None:
        """What is current, by its place in the store."""
        name = (self.state / "current").resolve().name
        return f"sha256:{name}" if re.fullmatch(r"[0-9a-f]{64}", name) else None

    def boot(self, name: str) -> None:
        """Say which boot this is; another name is a reboot."""
        path = self.root / "proc/sys/kernel/random/boot_id"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)

    def fall_back_to(self) -> Built:
        """The strictest baseline."""
        return Built(*baseline.read())

    def current(self) -> tuple[str, dict[str, bytes]] | None:
        """Where `current` points and every file below it; None when there is no such name."""
        pointer = self.state / "current"
        if not pointer.is_symlink():
            assert not pointer.exists()
            return None
        return str(pointer.readlink()), files_below(pointer)

    def enforces(self, built: Built | None) -> bool:
        """Whether `current` is exactly this bundle, whole; for None, that there is none."""
        now = self.current()
        if built is None or now is None:
            return built is None and now is None
        return now[1] == members(built)

    def leftovers(self) -> list[str]:
        """Temporary names anywhere in the state directory."""
        return [str(path) for path in self.state.rglob(".*")]

    def numbers(self) -> list[int]:
        """The generations that exist."""
        return sorted(int(path.name) for path in self.state.glob("generations/*"))


def files_below(directory: Path) -> dict[str, bytes]:
    """Every file there, by its path relative to it."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def members(built: Built) -> dict[str, bytes]:
    """The files of a bundle, by another reader than the program's."""
    with tarfile.open(fileobj=io.BytesIO(built.tar)) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
