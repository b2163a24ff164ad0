"""The chain: whatever is done to a row of records, a reader sees it."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fleetbox.hostside import chain
from fleetbox.hostside.chain import Head, Record
from fleetbox.hostside.chain_check import Problem, check

TIME = "2026-11-22T02:00:00Z"


def row(count: int, *, of: str = "host", after: Head | None = None) -> list[Record]:
    records: list[Record] = []
    for number in range(count):
        last = records[-1].head if records else after
        records.append(chain.next_record(last, TIME, "activated", {"of": of, "n": number}))
    return records


ROW = row(9)
LINES = [chain.encode(record) for record in ROW]
END = ROW[-1].head


def problems(lines: Sequence[bytes], *known: Head) -> list[Problem]:
    return check(chain.entries(lines), known)


def grave(lines: Sequence[bytes], *known: Head) -> set[str]:
    return {problem.code for problem in problems(lines, *known) if problem.grave}


def test_a_trail_as_it_was_written_has_no_problem() -> None:
    assert problems(LINES, END, ROW[3].head) == []
    assert problems([]) == []


@given(at=st.integers(0, len(b"".join(LINES)) - 1), to=st.integers(0, 255))
def test_any_changed_byte_is_found(at: int, to: int) -> None:
    data = bytearray(b"".join(LINES))
    assume(data[at] != to)
    data[at] = to
    # The last newline says nothing: without it the last record is as whole as before.
    assume(at != len(data) - 1 or to not in b" \t\r")
    assert grave(bytes(data).splitlines(keepends=True), END)


@given(start=st.integers(0, 8), count=st.integers(1, 9))
def test_any_removed_record_is_found(start: int, count: int) -> None:
    left = LINES[:start] + LINES[start + count :]
    assert grave(left, END)
    at_the_end = start + count >= len(LINES)
    assert bool(grave(left)) != at_the_end, "only a cut at the end needs a head that was kept elsewhere"


@given(st.permutations(LINES))
def test_any_other_order_is_found(lines: list[bytes]) -> None:
    assume(lines != LINES)
    assert grave(lines, END)


@given(st.integers(0, 9), st.sampled_from([*LINES, *map(chain.encode, row(12, of="another"))]))
def test_any_added_record_is_found(at: int, line: bytes) -> None:
    assert grave([*LINES[:at], line, *LINES[at:]], END)


@given(st.integers(0, 7))
def test_a_record_that_was_put_in_the_place_of_another_is_found_by_the_next(at: int) -> None:
    last = ROW[at - 1].head if at else None
    forged = chain.encode(chain.next_record(last, TIME, "activated", {"of": "forged"}))
    assert grave([*LINES[:at], forged, *LINES[at + 1 :]]) == {"changed"}


def test_a_first_record_that_follows_another_is_no_beginning() -> None:
    forged = chain.next_record(Head(0, "a" * 64), TIME, "activated", {})
    assert forged.seq == 1
    assert grave([chain.encode(forged)]) == {"changed"}


@given(st.integers(0, 8), st.integers(1, 12))
def test_a_trail_written_anew_from_any_record_on_is_found_by_a_head_that_was_kept(
    at: int, count: int
) -> None:
    kept = ROW[:at]
    forged = row(count, of="forged", after=kept[-1].head if kept else None)
    lines = [chain.encode(record) for record in (*kept, *forged)]
    assert grave(lines) == set()
    assert grave(lines, END) <= {"rewritten", "cut_at_end"}
    assert grave(lines, END)


@given(st.integers(1, len(LINES[4]) - 2))
def test_bytes_of_an_unfinished_record_are_told_apart_from_a_change(length: int) -> None:
    torn = LINES[4][:length] + b"\n"
    found = chain.damage([torn])
    note = chain.next_record(ROW[3].head, TIME, chain.REPAIRED, {"damaged": found.noted()})
    lines = [*LINES[:4], torn, chain.encode(note)]
    assert [(problem.code, problem.grave) for problem in problems(lines, note.head)] == [("torn", False)]
    assert grave([*LINES[:4], chain.encode(note)]) == {"missing"}
    assert grave([*LINES[:4], torn[1:], chain.encode(note)]) == {"changed"}
    assert grave([*LINES[:4], torn, *LINES[4:]]) == {"changed"}
    assert [(p.code, p.grave) for p in problems([*LINES[:4], torn])] == [("torn", False)]


def test_a_whole_line_that_is_no_record_is_no_torn_one_even_where_it_was_noted() -> None:
    changed = LINES[4].replace(b'"n":4', b'"n":5')
    note = chain.next_record(ROW[3].head, TIME, chain.REPAIRED, {"damaged": chain.damage([changed]).noted()})
    assert grave([*LINES[:4], changed, chain.encode(note)]) == {"changed"}


def test_a_trail_may_begin_where_its_last_rotation_says_and_no_later() -> None:
    rotated = chain.next_record(ROW[5].head, TIME, chain.ROTATED, {"oldest": 4})
    lines = [*LINES[:6], chain.encode(rotated)]
    known = (ROW[0].head, ROW[4].head, rotated.head)
    assert grave(lines, *known) == grave(lines[3:], *known) == set()
    assert grave(lines[4:], *known) == {"cut_at_start"}
    assert grave(lines[3:], ROW[0].head) == {"cut_at_start"}, "nothing that is known of it is left"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record | {"schema_version": True},
        lambda record: record | {"schema_version": 2},
        lambda record: record | {"seq": 0},
        lambda record: record | {"seq": "1"},
        lambda record: record | {"seq": 10**16},
        lambda record: record | {"time": "yesterday"},
        lambda record: record | {"event": "Not a code"},
        lambda record: record | {"prev": None},
        lambda record: {name: value for name, value in record.items() if name != "prev"},
        lambda _record: {},
    ],
)
def test_a_record_with_a_right_hash_and_a_wrong_field_is_none(spoil) -> None:  # type: ignore[no-untyped-def]
    record = spoil(chain.as_json(ROW[0]))
    record["hash"] = chain._hash(record)
    assert chain.decode(chain._canonical(record)) is None
    assert chain.from_json(record) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[" * 200_000,
        b'{"seq":' + b"9" * 10_000 + b"}",
        LINES[0].replace(b",", b", ", 1),
        LINES[0].replace(b'"n":0', b'"n":0,"n":0'),
        json.dumps(chain.as_json(ROW[0])).encode(),
        json.dumps(chain.as_json(ROW[0]), sort_keys=True, separators=(",", ":")).encode("utf-16"),
        LINES[0][:-1] + b" " * chain.LINE_LIMIT,
    ],
)
def test_a_record_has_one_encoding(line: bytes) -> None:
    assert chain.decode(line) is None


@pytest.mark.parametrize(
    "fields", [{"seq": 3}, {"x": {1: 2}}, {"x": float("nan")}, {"x": "y" * chain.LINE_LIMIT}]
)
def test_what_would_not_be_read_back_is_not_written(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"event|JSON"):
        chain.next_record(None, TIME, "activated", fields)


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {"damaged": 1}, {"damaged": {"bytes": 1, "sha256": "x", "torn": True}}, {"a": {"b"}}],
)
def test_what_a_host_says_is_an_entry_or_nothing(answer: object) -> None:
    assert chain.from_json(answer) is None
