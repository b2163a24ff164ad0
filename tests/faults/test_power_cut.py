"""The power fails at any moment of any verb, and what was not synced is lost, kept or torn.

In every state that this may leave, the host has exactly one of the bundles that it may have, every bundle in
its store is whole, the next commands settle it, and what a verb has answered still holds.
"""

from __future__ import annotations

import functools
import itertools
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fleetbox.hostside import __main__ as host_program
from tests.faults.conftest import Show
from tests.faults.power_cuts import (
    BASE,
    KNOWN,
    NEW,
    OLD,
    OTHER,
    Recorded,
    Recorder,
    Verb,
    activate,
    fates,
    problems,
    removable,
    settle,
    states,
)
from tests.faults.tools import FULL, scaled
from tests.integration.hostside.driver import answer_smoke
from tests.integration.hostside.host import HostTree

FEW = 8  # choices tried at one moment where there are more
FOREVER = ("--confirm-within", "100000")
ON_TRIAL = activate(NEW, *FOREVER, after=fates(NEW, settles=[OLD]))
CONFIRM = ("confirm", "{generation}", "{nonce}")
HISTORIES: dict[str, tuple[Verb, ...]] = {
    "the first activation": (activate(NEW),),
    "the first one fails its checks": (activate(NEW, smoke="fail", after=fates(None)),),
    "an upgrade": (activate(OLD), activate(NEW)),
    "an upgrade fails its checks": (activate(OLD), activate(NEW, smoke="fail", after=fates(OLD))),
    "a narrowing": (
        activate(OLD),
        activate(NEW, narrows=True, meanwhile=fates(NEW, settles=[BASE])),
    ),
    "a narrowing fails its checks": (
        activate(OLD),
        activate(NEW, narrows=True, smoke="fail", after=fates(BASE), meanwhile=fates(NEW, settles=[])),
    ),
    "a rollback": (activate(OLD), activate(NEW), Verb(("rollback", *KNOWN), fates(OLD))),
    "an upgrade after one was killed": (
        activate(OLD),
        activate(NEW, stop="step:SWITCHED", after=fates(NEW, OLD, settles=[OLD])),
        activate(NEW),
    ),
    "an upgrade after one was killed as it unpacked": (
        activate(OLD),
        activate(NEW, stop="step:PUBLISHED", after=fates(OLD)),
        activate(NEW),
    ),
    "an upgrade on trial": (activate(OLD), ON_TRIAL),
    "a narrowing on trial": (
        activate(OLD),
        activate(NEW, *FOREVER, narrows=True, after=fates(NEW, settles=[BASE])),
    ),
    "a confirmation": (activate(OLD), ON_TRIAL, Verb(CONFIRM, fates(NEW))),
    "a confirmation after one was killed": (
        activate(OLD),
        ON_TRIAL,
        Verb(CONFIRM, fates(NEW, settles=[NEW, OLD]), stop="step:CONFIRMED"),
        Verb(CONFIRM, fates(NEW)),
    ),
    "the watchdog's way back": (activate(OLD), ON_TRIAL, Verb(("watchdog",), fates(OLD), boot="second")),
    "the way back after one was killed": (
        activate(OLD),
        ON_TRIAL,
        Verb(("watchdog",), fates(OLD, NEW, settles=[OLD]), stop="step:SWITCHED_BACK", boot="second"),
        Verb(("watchdog",), fates(OLD), boot="second"),
    ),
    "another activation takes its place": (
        activate(OLD),
        ON_TRIAL,
        activate(OTHER, meanwhile=fates(OLD, OTHER, settles=[OLD])),
    ),
    "garbage is collected": (
        *(activate(OLD), activate(NEW), activate(OLD), activate(NEW)),
        Verb(("gc", "--keep", "2"), fates(NEW)),
    ),
    "the GPU map is written before anything": (Verb(("gpu",), fates(None)),),
    "a bundle is staged": (activate(OLD), Verb(("stage", NEW.digest), fates(OLD), stdin=NEW.tar)),
}
COVERED = {"generations.switch", "generations.lay_back"}
"""Whose syncs nothing depends on: pending.json is synced after each, in the same directory. They say when."""


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in memory: fsync costs nothing there, and the model does not need it to do anything."""
    monkeypatch.setitem(sys.modules, "fleetbox.hostside.probes", sys)  # put back what was there
    answer_smoke("pass")
    monkeypatch.setattr(host_program, "_parser", functools.cache(host_program._parser))  # most of its time
    with TemporaryDirectory(prefix="fleetbox-tests-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def histories() -> dict[str, list[Recorded]]:
    with TemporaryDirectory(prefix="fleetbox-tests-", dir="/dev/shm") as folder:
        recorder = Recorder(Path(folder))
        return {name: recorder.record(verbs) for name, verbs in HISTORIES.items()}


def _wrong(recorded: Sequence[Recorded], memory: Path, seed: int, limit: int = FEW) -> tuple[int, list[str]]:
    """How many states there are, and what is wrong with the first bad one."""
    every = list(states(recorded, random.Random(seed), limit))  # noqa: S311 - a seed that is printed
    for state in every:
        if found := [*problems(state)]:
            return len(every), [state.when, *found]
    for state, built in zip(every, itertools.cycle((NEW, OTHER)), strict=False):
        host = HostTree(memory / "settled")
        found = [*settle(state, host, built)]
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
    tried, wrong = _wrong(recorded, memory, seed, scaled(FEW, 1000))
    show(f"{name}: {len(recorded[-1].operations)} operations, {tried} states after a power cut (seed {seed})")
    assert not wrong


def test_no_sync_can_be_left_out(histories: dict[str, list[Recorded]], memory: Path, show: Show) -> None:
    """The model can fail: without any one of the syncs that the program asks for, something is lost."""
    caught, missed = Counter[str](), Counter[str]()
    for *earlier, last in histories.values():
        for number, asked in removable([*earlier, last]):
            if FULL or (asked not in COVERED and not caught[asked]):
                _, wrong = _wrong([*earlier, last.without(number)], memory, seed=0)
                (caught if wrong else missed)[asked] += 1
    show(
        f"{'without the sync of':34} caught, not caught",
        *(f"{asked:34} {caught[asked]:6} {missed[asked]:11}" for asked in sorted(caught | missed)),
    )
    assert missed.keys() - caught.keys() == (COVERED if FULL else set())
