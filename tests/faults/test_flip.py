"""A sandboxed sibling that flips protected names while launches start gets through none of them.

The counts are printed. That the run can catch a launcher is shown by one that checks and then binds by path.
What a process of the same user outside any sandbox reaches is reported, not asserted: that is the user's own
power.
"""

from pathlib import Path

import pytest

from tests.conftest import give_to
from tests.faults.conftest import Show
from tests.faults.flips import (
    HEADING,
    KEY,
    NAMES,
    PARENTS,
    SPEEDS,
    Count,
    Start,
    as_user,
    flipper,
    prepare,
    race,
)
from tests.faults.tools import HERE, built, scaled
from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op

LAUNCHES = scaled(40, 400)  # per speed
NAIVE = HERE / "naive.sh"
PROTECTED = tuple(name for name in NAMES if name != ".vscode")  # which must only stay in its place
GUARDS: list[Op] = [
    *(("protect", name) for name in PROTECTED),
    ("rule", "none", "${WORKSPACE}/private/key"),
]


@pytest.fixture
def workspace(bench: Bench) -> Path:
    prepare(bench.workspace)
    for path in (bench.workspace, *bench.workspace.rglob("*")):
        give_to(path, bench.uid)
    return bench.workspace


@pytest.fixture
def start(bench: Bench) -> Start:
    return as_user(bench.uid, bench.home, bench.workspace)


def flip(speed: str, *names: str) -> list[str]:
    low, high = SPEEDS[speed]
    return [str(built("attack")), "flip", str(low), str(high), *names]


def probe(*names: str) -> list[str]:
    return [str(built("attack")), "probe", *names]


def report(show: Show, title: str, counts: dict[str, Count]) -> None:
    reasons = sum((count.refusals for count in counts.values()), start=Count().refusals)
    ways = sum((count.ways for count in counts.values()), start=Count().ways)
    show(
        HEADING,
        *(count.row(f"{title}, {speed}") for speed, count in counts.items()),
        *(f"    refused {number:4} x  {reason[:110]}" for reason, number in reasons.most_common(4)),
        *(f"    bypassed {number:4} x  {way}" for way, number in ways.most_common(4)),
    )


def total(counts: dict[str, Count], field: str) -> int:
    return sum(int(getattr(count, field)) for count in counts.values())


def test_a_sandboxed_sibling_that_flips_names_passes_no_launch(
    bench: Bench, workspace: Path, start: Start, show: Show
) -> None:
    plan = bench.plan(*GUARDS).write(bench.root / "plan", bench.uid)
    counts = {
        speed: race(
            lambda count, speed=speed: flipper(
                start, bench.command(plan, *flip(speed, *NAMES, *PARENTS)), count, forever=False
            ),
            start,
            bench.command(plan, *probe(*PROTECTED, KEY)),
            LAUNCHES,
        )
        for speed in SPEEDS
    }
    report(show, "sandboxed sibling", counts)
    assert total(counts, "bypassed") == 0
    assert total(counts, "reached") * 2 >= total(counts, "launches") == 3 * LAUNCHES
    assert all(count.flips_tried > LAUNCHES // 8 for count in counts.values()), "hardly anything was tried"
    assert total(counts, "flips_done") == 0
    assert (workspace / ".agents/config").read_text() == "as it was"
    assert not any((workspace / name).exists() for name in (".git", ".codex"))


def test_the_same_run_catches_a_launcher_that_checks_and_then_binds_by_path(
    bench: Bench, workspace: Path, start: Start, show: Show
) -> None:
    """Its sibling starts before the missing names exist and so has no mount over them."""
    speed = "2.5-5 ms"
    naive = [str(NAIVE), str(workspace), ".git", "--"]
    count = race(
        lambda flips: flipper(start, [*naive, *flip(speed, ".git")], flips, forever=True),
        start,
        [*naive, *probe(".git")],
        max(LAUNCHES, 100),
    )
    report(show, "naive launcher, sibling", {speed: count})
    assert count.flips_done > 0
    assert count.bypassed > 0


def test_what_a_process_outside_any_sandbox_reaches_is_reported(
    bench: Bench, workspace: Path, start: Start, show: Show
) -> None:
    plan = bench.plan(*GUARDS).write(bench.root / "plan", bench.uid)
    counts = {
        speed: race(
            lambda flips, speed=speed: flipper(start, flip(speed, ".agents"), flips, forever=True),
            start,
            bench.command(plan, *probe(*PROTECTED, KEY)),
            LAUNCHES,
        )
        for speed in SPEEDS
    }
    report(show, "same user, no sandbox", counts)
    assert total(counts, "launches") == 3 * LAUNCHES
