"""The power fails at any moment of any verb, and what was not synced is lost, kept or torn.

In every state that this may leave, the host has exactly one of the bundles that it may have, every bundle in
its store is whole, the next commands settle it, and what a verb has answered still holds.
"""

from __future__ import annotations

import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults.conftest import Show
from tests.faults.power_cuts import (
    NEW,
    OLD,
    Recorded,
    Verb,
    activate,
    problems,
    record,
    removable,
    settle,
    states,
)
from tests.faults.tools import FULL, scaled
from tests.integration.hostside.driver import answer_smoke
from tests.integration.hostside.host import HostTree

FEW = 16  # choices tried at one moment where there are more
BACK = Verb(("rollback",), frozenset({OLD}))
HISTORIES: dict[str, tuple[Verb, ...]] = {
    "the first activation": (activate(NEW),),
    "the first one fails its checks": (activate(NEW, None, smoke="fail"),),
    "an upgrade": (activate(OLD), activate(NEW)),
    "an upgrade fails its checks": (activate(OLD), activate(NEW, OLD, smoke="fail")),
    "a rollback": (activate(OLD), activate(NEW), BACK),
    "an upgrade after one was killed": (
        activate(OLD),
        activate(NEW, OLD, NEW, stop="step:SWITCHED"),
        activate(NEW),
    ),
    "an upgrade after one was killed as it unpacked": (
        activate(OLD),
        activate(NEW, OLD, stop="step:PUBLISHED"),
        activate(NEW),
    ),
}


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in memory: fsync costs nothing there, and the model does not need it to do anything."""
    monkeypatch.setitem(sys.modules, "fleetbox.hostside.probes", sys)  # put back what was there
    answer_smoke("pass")
    with TemporaryDirectory(prefix="fleetbox-tests-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def histories() -> dict[str, list[Recorded]]:
    with TemporaryDirectory(prefix="fleetbox-tests-", dir="/dev/shm") as folder:
        return {name: record(Path(folder) / name, verbs) for name, verbs in HISTORIES.items()}


def _wrong(recorded: Sequence[Recorded], memory: Path, seed: int, limit: int = FEW) -> tuple[int, list[str]]:
    """How many states there are, and what is wrong with the first bad one."""
    every = list(states(recorded, random.Random(seed), limit))  # noqa: S311 - a seed that is printed
    for state in every:
        if found := [*problems(state)]:
            return len(every), [state.when, *found]
    for state in every:
        host = HostTree(memory / "settled")
        found = [*settle(state, host)]
        shutil.rmtree(host.root)
        if found:
            return len(every), [state.when, *found]
    return len(every), []


@pytest.mark.parametrize("name", HISTORIES)
def test_a_power_cut_at_any_moment_leaves_a_legal_state(
    histories: dict[str, list[Recorded]], name: str, memory: Path, show: Show
) -> None:
    seed = time.time_ns() % 1_000_000
    recorded = histories[name]
    tried, wrong = _wrong(recorded, memory, seed, scaled(FEW, 4000))
    show(f"{name}: {len(recorded[-1].operations)} operations, {tried} states after a power cut (seed {seed})")
    assert not wrong


def test_no_sync_can_be_left_out(histories: dict[str, list[Recorded]], memory: Path, show: Show) -> None:
    """The model can fail: without any one of the syncs that the program asks for, something is lost."""
    caught, missed = Counter[str](), Counter[str]()
    for *earlier, last in histories.values():
        for number, asked in removable([*earlier, last]):
            if FULL or not caught[asked]:
                _, wrong = _wrong([*earlier, last.without(number)], memory, seed=0)
                (caught if wrong else missed)[asked] += 1
    show(
        f"{'without the sync of':34} caught, not caught",
        *(f"{asked:34} {caught[asked]:6} {missed[asked]:11}" for asked in sorted(caught | missed)),
    )
    assert not missed.keys() - caught.keys()
