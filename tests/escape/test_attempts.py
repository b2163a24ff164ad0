"""Every attempt succeeds without the defence it targets, and is stopped inside `fleetbox-run`."""

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import REPO
from tests.escape.arena import attempts
from tests.escape.arena.attempt import Attempt
from tests.escape.conftest import ArenaOf
from tests.escape.hosts import SPECS

# What rests on the mounts, and may differ by who makes them.
MOUNTED = {
    "fails closed",
    "inner stage not dumpable",
    "locked mounts",
    "masks",
    "masks of aliases",
    "masks of files",
    "masks of sockets",
    "no links on the way",
    "pinned parents",
    "private propagation",
    "protected names",
    "read-only root",
}

pytestmark = pytest.mark.host


def _cases() -> Iterator[object]:
    for kind in SPECS:
        for attempt in attempts.ALL:
            if kind in (attempt.host, *attempt.also):
                marks = [pytest.mark.xfail(strict=True, reason=attempt.open)] if attempt.open else []
                yield pytest.param(kind, attempt, id=f"{kind}-{attempt.id}", marks=marks)


@pytest.mark.parametrize(("kind", "attempt"), list(_cases()))
def test_refused(
    arena_of: ArenaOf, kind: str, attempt: Attempt, record_property: Callable[[str, object], None]
) -> None:
    control, inside = arena_of(kind).run(attempt.id, "control", "fleetbox")
    record_property("escape", (kind, attempt.id, control.escaped, inside.escaped, inside.reason))
    assert control.reached, f"the control run never started: {control}"
    assert control.escaped, f"it does not succeed even without {attempt.targets}: {control}"
    assert not inside.timed_out, inside
    assert not inside.escaped, f"it succeeded inside fleetbox-run: {inside}"
    if attempt.refused is None and not attempt.may_be_refused:
        assert inside.reached, f"it was never tried: {inside}"
    elif attempt.refused:
        assert (inside.reached, inside.code) == (False, 125), inside
        assert attempt.refused in inside.error, inside
    else:
        assert inside.reached or inside.code, inside


def _by_bwrap() -> Iterator[object]:
    for attempt in attempts.ALL:
        if attempt.targets in MOUNTED and attempt.host == "bookworm":
            reason = attempt.open or attempt.open_by_bwrap
            marks = [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
            yield pytest.param(attempt, id=attempt.id, marks=marks)


@pytest.mark.parametrize("attempt", list(_by_bwrap()))
def test_refused_where_bubblewrap_mounts(arena_of: ArenaOf, attempt: Attempt) -> None:
    """The other way to make the mounts; that the attempt can succeed was shown above."""
    [inside] = arena_of("bookworm").run(attempt.id, "by-bwrap")
    assert not inside.escaped, f"it succeeded inside fleetbox-run --mounts bwrap: {inside}"
    assert inside.reached or inside.code, inside


def test_what_still_succeeds_is_a_known_limit() -> None:
    limits = (REPO / "docs/threat-model.md").read_text().partition("## Known limits")[2]
    still = [attempt.id for attempt in attempts.ALL if attempt.open or attempt.open_by_bwrap]
    assert [name for name in still if name not in limits] == []


def test_there_are_enough_and_each_is_one() -> None:
    names = [attempt.id for attempt in attempts.ALL]
    assert len(names) == len(set(names))
    assert len(names) >= 55
