"""A person without privileges who tries a policy: a home, a workspace, and the `fleetbox` command."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPO, give_to

# A clone below /root is out of reach for anybody else, so root shows it to the person in a mount namespace.
SHOW_CLONE = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


@dataclass(frozen=True)
class Person:
    """Runs commands as themselves; every path here is one that they see."""

    uid: int
    home: Path
    clone: Path

    @property
    def workspace(self) -> Path:
        return self.home / "project"

    def policy(self, body: str) -> Path:
        """A policy file of theirs."""
        file = self.home / "policy.yml"
        file.write_text(f"apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {{name: mine}}\n{body}\n")
        return file

    def fleetbox_run(
        self, policy: Path | str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`fleetbox run --policy POLICY ARGUMENTS`; a name is a preset's."""
        file = self.clone / "policies" / f"{policy}.yml" if isinstance(policy, str) else policy
        python = Path(sys.executable).absolute()
        python = self.clone / python.relative_to(REPO) if python.is_relative_to(REPO) else python
        command = [str(python), "-m", "fleetbox.cli", "run", "--policy", str(file), *arguments]
        return self.run(*command, environment={"PYTHONPATH": str(self.clone), **(environment or {})})

    def inside(self, script: str, policy: Path | str = "gpu-workstation") -> subprocess.CompletedProcess[str]:
        return self.fleetbox_run(policy, "--", "sh", "-c", script)

    def run(
        self, *command: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        whole = list(command)
        if os.geteuid() == 0:
            become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--"]
            show = ["unshare", "--mount", "sh", "-c", SHOW_CLONE, "sh", str(REPO), str(self.clone)]
            whole = [*show, *become, *whole]
        plain = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **(environment or {})}
        return subprocess.run(
            whole, env=plain, cwd=self.workspace, capture_output=True, text=True, check=False, timeout=60
        )


@pytest.fixture
def person(workload_user: int, launcher: Path, needs_sandbox: None) -> Iterator[Person]:
    """Not below /tmp or /var/tmp, which a sandbox has for itself."""
    parent = "/home" if os.geteuid() == 0 else str(Path.home())
    home = Path(tempfile.mkdtemp(prefix="fleetbox-tests-", dir=parent))
    clone = home / "clone" if os.geteuid() == 0 else REPO
    for directory in (home, home / "project", home / ".ssh", home / "clone"):
        directory.mkdir(exist_ok=True)
        give_to(directory, workload_user)
    yield Person(workload_user, home, clone)
    shutil.rmtree(home)
