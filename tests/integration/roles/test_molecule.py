"""Molecule's scenario, run as a contributor runs it: from the repository's root, on hosts of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.roles.playbooks import REPO

pytestmark = pytest.mark.host

SCENARIO_SECONDS = 900


@pytest.fixture
def home() -> Iterator[str]:
    """Short, because a control socket's path has 108 bytes; and not the developer's own."""
    with tempfile.TemporaryDirectory(prefix="fleetbox-molecule-", dir="/var/tmp") as path:
        yield path


def test_the_default_scenario_passes(needs_hosts: None, launcher: Path, home: str) -> None:
    programs = Path(sys.executable).parent
    settings = {
        "HOME": home,
        "ANSIBLE_HOME": home,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        ["molecule", "test"],
        cwd=REPO,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=SCENARIO_SECONDS,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-20_000:]
