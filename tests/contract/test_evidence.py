"""What the parity data names exists, and whatever is partial has something that shows its limit."""

from pathlib import Path

import pytest

from fleetbox.conformance import catalogue
from fleetbox.targets.parity import PARITY, Row, State
from fleetbox.targets.properties import PROPERTIES, Property
from tests.escape.arena import attempts

REPO = Path(__file__).resolve().parents[2]
ROWS: tuple[Row | Property, ...] = (*PARITY, *PROPERTIES)
FAMILIES = {family.__name__.rpartition(".")[2] for family in attempts.FAMILIES}


def words(row: Row | Property) -> str:
    return row.words if isinstance(row, Property) else f"{row.field}={row.value or ''}"


def exists(evidence: str) -> bool:
    if evidence.startswith("FBX-"):
        return evidence in catalogue.load()
    if evidence.startswith("escape:"):
        name = evidence.removeprefix("escape:")
        return name in FAMILIES or name in {attempt.id for attempt in attempts.ALL}
    path, _, test = evidence.partition("::")
    file = REPO / path
    return file.is_file() and (not test or f"def {test}(" in file.read_text())


@pytest.mark.parametrize("row", ROWS, ids=words)
def test_what_shows_a_row_exists(row: Row | Property) -> None:
    assert row.shown
    assert [name for name in (*row.shown, *row.limit) if not exists(name)] == []


@pytest.mark.parametrize("row", ROWS, ids=words)
def test_what_is_partial_and_nothing_else_has_its_limit_shown(row: Row | Property) -> None:
    assert bool(row.limit) is (State.PARTIAL in (row.linux, row.macos))


def test_a_check_is_partial_where_it_shows_a_limit() -> None:
    named = {name for row in ROWS for name in row.limit if name.startswith("FBX-")}
    assert {name for name, entry in catalogue.load().items() if entry.platforms.linux == "partial"} == named


def test_every_attempt_that_is_a_known_limit_is_the_limit_of_a_row() -> None:
    still = {f"escape:{attempt.id}" for attempt in attempts.ALL if attempt.limit or attempt.limit_by_bwrap}
    assert still - {name for row in ROWS for name in row.limit} == set()
