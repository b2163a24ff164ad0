"""A disk that fills up, loses its inodes or is read-only: the old generation stays, and nothing is left."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hostside.host import REPO

Outcome = dict[str, Any]


@pytest.fixture(scope="module")
def activate_on(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Outcome]]:
    """Run `full_disk` with the given kind of disk, where nobody else sees its mounts."""
    unshare = ["unshare", "--mount", "--propagation", "private"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"needs root for a mount namespace: {tried.stderr.strip()}")

    def run(what: str) -> list[Outcome]:
        root: Path = tmp_path_factory.mktemp(what)
        argv = [*unshare, sys.executable, "-S", "-m", "tests.integration.hostside.full_disk", what, str(root)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=REPO, timeout=300)
        assert done.returncode == 0, done.stderr
        outcomes: list[Outcome] = json.loads(done.stdout)
        return outcomes

    return run


@pytest.mark.parametrize(("what", "error"), [("bytes", "disk_full"), ("inodes", "no_inodes")])
def test_an_activation_that_runs_out_of_space_changes_nothing(
    activate_on: Callable[[str], list[Outcome]], what: str, error: str
) -> None:
    *refused, done = activate_on(what)
    assert len(refused) > 3, "no write ran out of space: the disk was not full"
    for outcome in refused:
        assert outcome == {
            "code": 5,
            "error": error,
            "old": True,
            "new": False,
            "leftovers": [],
            "numbers": [1],
        }
    assert (done["code"], done["new"]) == (0, True), "with enough space it must succeed"


def test_a_read_only_disk_is_named(activate_on: Callable[[str], list[Outcome]]) -> None:
    [outcome] = activate_on("readonly")
    assert (outcome["code"], outcome["error"], outcome["old"]) == (5, "read_only_filesystem", True)


def test_a_disk_that_fills_up_during_the_checks_cannot_stop_the_way_back(
    activate_on: Callable[[str], list[Outcome]],
) -> None:
    [outcome] = activate_on("while-checking")
    assert (outcome["code"], outcome["error"], outcome["old"]) == (5, "smoke_failed", True)
    assert outcome["leftovers"] == []
