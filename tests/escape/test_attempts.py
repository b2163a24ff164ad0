"""Every attempt succeeds without the defence it targets, and is stopped inside `fleetbox-run`.

Those that are not stopped are known limits, each named in docs/threat-model.md. That they succeed is tested
too, so that its list says no more and no less than what is so.
"""

import re
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
    "snapshots",
}
BY_BWRAP = [one for one in attempts.ALL if one.targets in MOUNTED and one.host == "bookworm"]
LIMITS = set(
    re.findall(r"[\w-]+", (REPO / "docs/threat-model.md").read_text().partition("## Known limits")[2])
)

pytestmark = pytest.mark.host


def _on_hosts() -> Iterator[tuple[str, Attempt]]:
    for kind in SPECS:
        for attempt in attempts.ALL:
            if kind in (attempt.host, *attempt.also):
                yield kind, attempt


def _refused() -> Iterator[object]:
    for kind, attempt in _on_hosts():
        if not attempt.limit:
            yield pytest.param(kind, attempt, id=f"{kind}-{attempt.id}")


def _refused_by_bwrap() -> Iterator[object]:
    for attempt in BY_BWRAP:
        if not attempt.limit and not attempt.limit_by_bwrap:
            yield pytest.param(attempt, id=attempt.id)


def _limits() -> Iterator[object]:
    for kind, attempt in _on_hosts():
        if attempt.limit:
            yield pytest.param(kind, attempt, "fleetbox", id=f"{kind}-{attempt.id}")
    for attempt in BY_BWRAP:
        if attempt.limit or attempt.limit_by_bwrap:
            yield pytest.param(
                "bookworm", attempt, "by-bwrap", id=f"bookworm-{attempt.id}-where-bubblewrap-mounts"
            )


@pytest.mark.parametrize(("kind", "attempt"), list(_refused()))
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


@pytest.mark.parametrize("attempt", list(_refused_by_bwrap()))
def test_refused_where_bubblewrap_mounts(arena_of: ArenaOf, attempt: Attempt) -> None:
    """The other way to make the mounts; that the attempt can succeed was shown above."""
    [inside] = arena_of("bookworm").run(attempt.id, "by-bwrap")
    assert not inside.escaped, f"it succeeded inside fleetbox-run --mounts bwrap: {inside}"
    assert inside.reached or inside.code, inside


@pytest.mark.parametrize(("kind", "attempt", "how"), list(_limits()))
def test_known_limit(
    arena_of: ArenaOf, kind: str, attempt: Attempt, how: str, record_property: Callable[[str, object], None]
) -> None:
    """It succeeds, as docs/threat-model.md says; what is refused by now must not stand there any longer."""
    control, inside = arena_of(kind).run(attempt.id, "control", how)
    name = attempt.id if how == "fleetbox" else f"{attempt.id} ({how})"
    record_property("escape limit", (kind, name, control.escaped, inside.escaped, inside.reason))
    assert control.escaped, f"it does not succeed even without {attempt.targets}: {control}"
    assert inside.reached, f"it was never tried: {inside}"
    assert inside.escaped, (
        f"it is refused: take it out of the limits, here and in docs/threat-model.md: {inside}"
    )


def test_only_limits_are_named_as_such() -> None:
    names = {attempt.id for attempt in attempts.ALL}
    assert LIMITS & names == {one.id for one in attempts.ALL if one.limit or one.limit_by_bwrap}
    assert [one.id for one in attempts.ALL if one.limit_by_bwrap and one not in BY_BWRAP] == []


def test_there_are_enough_and_each_is_one() -> None:
    names = [attempt.id for attempt in attempts.ALL]
    assert len(names) == len(set(names))
    assert len(names) >= 55
