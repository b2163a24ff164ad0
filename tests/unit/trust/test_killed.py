"""A writer killed at any moment leaves what clients verify, and what the next operation goes on from."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.trust.killed import OPERATIONS

REPO = Path(__file__).resolve().parents[3]
FEWEST = 8  # kills: fewer would mean that the door was not found


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_writer_killed_at_any_change_leaves_a_repository_that_verifies(operation, tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.trust.killed", operation, tmp_path],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= FEWEST
