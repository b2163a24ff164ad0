"""A disk that is full when signatures were due for too long: the policy stays, and it is tried again."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hostside.host import REPO

UNSHARE = ["unshare", "--mount", "--propagation", "private"]
SPACE = [("bytes", "disk_full"), ("inodes", "no_inodes")]


def outcomes(root: Path, when: str, what: str) -> list[dict[str, Any]]:
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"needs root for a mount namespace: {tried.stderr.strip()}")
    argv = [*UNSHARE, sys.executable, "-m", "tests.integration.hostside.stale_full_disk", when, what]
    done = subprocess.run(
        [*argv, str(root)], capture_output=True, text=True, check=False, cwd=REPO, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("what", "error"), SPACE)
@pytest.mark.parametrize("when", ["first", "second"])
def test_without_room_the_policy_stays_until_there_is(
    tmp_path: Path, when: str, what: str, error: str
) -> None:
    *refused, done = outcomes(tmp_path, when, what)
    assert refused, "no write ran out of space: the disk was not full"
    for outcome in refused:
        assert (outcome["code"], outcome["error"], outcome["policy"]) == (5, error, True)
        assert (outcome["leftovers"], outcome["again"], outcome["in_the_end"]) == ([], [0, 0], True)
    assert done["policy"] is (when == "first")
    assert done["baseline"] is (when == "second")


def test_what_nobody_goes_back_to_makes_room(tmp_path: Path) -> None:
    [done] = outcomes(tmp_path, "littered", "inodes")
    assert (done["code"], done["baseline"]) == (0, True)
