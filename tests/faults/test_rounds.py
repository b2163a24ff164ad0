"""Verbs at random, stopped at random, in OSTree's style: the host is always in one of the legal states."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.faults.conftest import Show
from tests.faults.tools import FULL, REPO, scaled

ALONE = ["unshare", "--mount", "--propagation", "private"]
TOGETHER = 2


def _play(seed: int, first: int, count: int) -> dict[str, Any]:
    """Rounds `first` and those after it; a disk of its own is each round's, which nobody else sees."""
    with TemporaryDirectory(prefix="fleetbox-tests-", dir="/dev/shm") as root:
        numbers = map(str, (seed, first, count))
        argv = [*ALONE, sys.executable, "-m", "tests.faults.rounds", *numbers, str(Path(root))]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=REPO)
    assert done.returncode == 0, done.stderr
    played: dict[str, Any] = json.loads(done.stdout)
    return played


@pytest.fixture
def needs_mounts() -> None:
    tried = subprocess.run([*ALONE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"needs root for a mount namespace: {tried.stderr.strip()}")


def test_after_every_random_verb_and_end_the_host_is_in_a_legal_state(needs_mounts: None, show: Show) -> None:
    seed, count = time.time_ns() % 1_000_000, scaled(40, 500)
    share = count // TOGETHER
    with ThreadPoolExecutor(TOGETHER) as pool:
        played = list(pool.map(lambda first: _play(seed, first, share), range(0, count, share)))
    counts = sum((Counter(one["counts"]) for one in played), Counter[str]())
    show(
        f"{sum(one['rounds'] for one in played)} rounds (seed {seed}):",
        *(f"    {what:24} {number:7}" for what, number in sorted(counts.items())),
    )
    wrong = [line for one in played for line in one["wrong"]]
    assert not wrong, f"replay: python -m tests.faults.rounds {seed} ROUND 1 EMPTY-DIRECTORY\n" + "\n".join(
        wrong
    )
    if FULL:
        stops = {f"stop by {kind}" for kind in ("time", "step", "call", "bytes", "inodes", "none")}
        killed = {f"{verb}: killed" for verb in ("activate", "confirm", "rollback", "gc", "watchdog")}
        assert counts.keys() >= stops | killed | {"reboot", "deadline", "two at once"}
