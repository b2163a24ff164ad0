"""One try-out place per test."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conformance.tryout import Tryout

# Neither /tmp nor /var/tmp: a sandbox has its own of both.
VISIBLE = Path("/srv") if os.geteuid() == 0 else Path.home()


@pytest.fixture
def tryout(launcher: Path, workload_user: int, needs_sandbox: None) -> Iterator[Tryout]:
    root = Path(tempfile.mkdtemp(prefix="fleetbox-tests-", dir=VISIBLE))
    root.chmod(0o755)
    yield Tryout.make(root, workload_user, launcher)
    shutil.rmtree(root, ignore_errors=True)
