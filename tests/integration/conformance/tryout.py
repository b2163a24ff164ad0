"""The probes in try-out mode: real launcher, real bubblewrap, an unprivileged account, nothing installed.

Everything lies below one directory that the sandbox shows as it is, because a home below /tmp or /var/tmp
would be hidden by the private ones.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetbox.conformance import expect
from fleetbox.hostside import payload
from fleetbox.policy import ResolvedPolicy, load_policy
from fleetbox.targets import TARGETS
from tests.integration.conformance.mutations import HEAD

DRIVER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from fleetbox.hostside import probes
request = json.load(sys.stdin)
installation = probes.Installation(launcher=sys.argv[2], plan=sys.argv[3])
json.dump(probes.run(request, installation), sys.stdout)
"""


@dataclass(frozen=True)
class Tryout:
    """A place of the account's own: its home, the host program, the launcher, launch plans."""

    root: Path
    uid: int

    @property
    def home(self) -> Path:
        """The account's home directory."""
        return self.root / "home"

    @property
    def launcher(self) -> Path:
        """The real launcher."""
        return self.root / "fleetbox-run"

    @classmethod
    def make(cls, root: Path, uid: int, launcher: Path) -> "Tryout":
        """Lay everything out below `root`."""
        tryout = cls(root, uid)
        payload.lay_out(root / "program")
        shutil.copy2(launcher, tryout.launcher)
        tryout.give(tryout.home)
        return tryout

    def give(self, directory: Path, mode: int = 0o755) -> Path:
        """A new directory of the account's."""
        directory.mkdir(mode=mode, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(directory, self.uid, self.uid)
        return directory

    def as_account(self) -> dict[str, Any]:
        """Options of subprocess to run as the account."""
        return {"user": self.uid, "group": self.uid, "extra_groups": []} if os.geteuid() == 0 else {}

    def file(self, path: Path, text: str) -> Path:
        """A new file of the account's."""
        path.write_text(text)
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.uid)
        return path

    def policy(self, text: str) -> ResolvedPolicy:
        """A policy from its body; the head is added."""
        path = self.root / "policy.yml"
        path.write_text(HEAD + text)
        return load_policy(path)

    def compile(self, policy: ResolvedPolicy, name: str) -> Path:
        """The launch plan and its filters, in a private directory of the account's."""
        directory = self.give(self.root / name, 0o700)
        for artifact in TARGETS["bubblewrap"].compile(policy):
            path = directory / artifact.path
            path.write_bytes(artifact.data)
            if os.geteuid() == 0:
                os.chown(path, self.uid, self.uid)
        return directory / "launch.plan"

    def script(self, name: str, text: str) -> Path:
        """A stand-in for the launcher."""
        path = self.root / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def probe(
        self, checks: Sequence[Mapping[str, Any]], plan: Path, launcher: Path | None = None, **request: Any
    ) -> dict[str, dict[str, Any]]:
        """Results by check id, asked as the account."""
        words = [str(self.root / "program"), str(launcher or self.launcher), str(plan)]
        done = subprocess.run(
            ["/usr/bin/python3", "-I", "-S", "-c", DRIVER, *words],
            input=json.dumps(
                {"checks": checks, "user": None, "egress_peer": None, "policy": None, **request}
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd="/",
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.home)},
            **self.as_account(),
        )
        assert done.returncode == 0, done.stderr
        return {result["check_id"]: result for result in json.loads(done.stdout)["results"]}

    def verify(
        self, intended: ResolvedPolicy, plan: Path, launcher: Path | None = None
    ) -> dict[str, dict[str, Any]]:
        """Hold what is in force against the intended policy."""
        return self.probe(expect.checks_for(intended), plan, launcher)


def red(results: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Checks that did not hold, and those of which nothing can be said."""
    return {check for check, result in results.items() if result["status"] not in ("pass", "not_applicable")}
