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
OnDisk = Callable[[str, str], list[Outcome]]


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> OnDisk:
    """Run `full_disk` with the given verb and kind of disk, where nobody else sees its mounts."""
    unshare = ["unshare", "--mount", "--propagation", "private"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"needs root for a mount namespace: {tried.stderr.strip()}")

    def run(verb: str, what: str) -> list[Outcome]:
        root: Path = tmp_path_factory.mktemp(f"{verb}-{what}")
        driver = [sys.executable, "-S", "-m", "tests.integration.hostside.full_disk"]
        argv = [*unshare, *driver, verb, what, str(root)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=REPO, timeout=300)
        assert done.returncode == 0, done.stderr
        outcomes: list[Outcome] = json.loads(done.stdout)
        return outcomes

    return run


SPACE = [("bytes", "disk_full"), ("inodes", "no_inodes")]


@pytest.mark.parametrize(("verb", "numbers"), [("activate", [1]), ("rollback", [1, 2])])
@pytest.mark.parametrize(("what", "error"), SPACE)
def test_what_runs_out_of_space_changes_nothing(
    on_disk: OnDisk, verb: str, numbers: list[int], what: str, error: str
) -> None:
    *refused, done = on_disk(verb, what)
    assert len(refused) > 3 or (verb, what) == ("rollback", "bytes"), "no write ran out: it was not full"
    assert refused, "no write ran out of space: the disk was not full"
    for outcome in refused:
        assert outcome == {
            "code": 5,
            "error": error,
            "before": True,
            "after": False,
            "leftovers": [],
            "numbers": numbers,
            "on_trial": False,
        }
    assert (done["code"], done["after"]) == (0, True), "with enough space it must succeed"


@pytest.mark.parametrize(
    ("verb", "numbers"),
    [("confirm", [1, 2]), ("watchdog", [1]), ("gc", [3, 4])],
    ids=str,
)
@pytest.mark.parametrize(("what", "_error"), SPACE)
def test_to_confirm_to_go_back_and_to_collect_needs_no_space(
    on_disk: OnDisk, verb: str, numbers: list[int], what: str, _error: str
) -> None:
    [outcome] = on_disk(verb, what)
    assert (outcome["code"], outcome["after"], outcome["on_trial"]) == (0, True, False), outcome
    assert (outcome["numbers"], outcome["leftovers"]) == (numbers, [])


@pytest.mark.parametrize("verb", ["activate", "rollback", "confirm", "watchdog", "gc"])
def test_a_read_only_disk_is_named(on_disk: OnDisk, verb: str) -> None:
    """A host that cannot go back says so, and stays on trial for the watchdog to try again."""
    [outcome] = on_disk(verb, "readonly")
    assert (outcome["code"], outcome["error"], outcome["before"]) == (5, "read_only_filesystem", True)
    assert outcome["on_trial"] is (verb in {"confirm", "watchdog"})


def test_a_disk_that_fills_up_during_the_checks_cannot_stop_the_way_back(on_disk: OnDisk) -> None:
    [outcome] = on_disk("activate", "while-checking")
    assert (outcome["code"], outcome["error"], outcome["before"]) == (5, "smoke_failed", True)
    assert outcome["leftovers"] == []
