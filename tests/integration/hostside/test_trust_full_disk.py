"""A disk that is full or out of inodes: the delivery is not taken, and what was verified before stays."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.hostside.host import REPO

UNSHARE = ["unshare", "--mount", "--propagation", "private"]


@pytest.mark.parametrize(("what", "error"), [("bytes", "disk_full"), ("inodes", "no_inodes")])
def test_no_room_to_verify(tmp_path: Path, what: str, error: str) -> None:
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"needs root for a mount namespace: {tried.stderr.strip()}")
    argv = [*UNSHARE, sys.executable, "-m", "tests.integration.hostside.trust_full_disk", what, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=REPO, timeout=120)
    assert done.returncode == 0, done.stderr
    *refused, last = json.loads(done.stdout)
    assert len(refused) > 3, "no write ran out of space: the disk was not full"
    assert {outcome["error"] for outcome in refused} == {error}
    assert {outcome["exit"] for outcome in refused} == {5}
    assert {outcome["generation"] for outcome in refused} == {10}
    assert all(outcome["whole"] for outcome in refused)
    assert [outcome["leftovers"] for outcome in refused if outcome["leftovers"]] == []
    assert last["generation"] == 11
