"""A host's trail against what is known of it, whatever the host answers."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from fleetbox.errors import ApplyFailed, TrustRefused, Unreachable
from fleetbox.hostside import chain
from fleetbox.hostside.chain import Head, Record
from fleetbox.rollout import host_trails
from fleetbox.rollout.audit import ACCEPTED, SEEN, AuditTrail
from fleetbox.rollout.host_trails import State
from fleetbox.transport import Completed

TIME = "2026-11-22T02:00:00Z"


class Answering:
    """A connection on which one answer after the other comes, whatever is asked."""

    is_root = True

    def __init__(self, answers: Sequence[object]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Completed:
        self.asked.append(argv[-1])
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return Completed(0, json.dumps(answer).encode(), b"")

    def close(self) -> None: ...


def row(count: int) -> list[Record]:
    records: list[Record] = []
    for n in range(count):
        records.append(chain.next_record(records[-1].head if records else None, TIME, "happened", {"n": n}))
    return records


ROW = row(6)


def page(records: Sequence[Record], following: int | None = None) -> dict[str, object]:
    return {"entries": [chain.as_json(record) for record in records], "next": following}


def found(*pages: object, known: Sequence[Head] = ()) -> host_trails.HostTrail:
    return host_trails.of_host("h1", Answering(pages), known)  # type: ignore[arg-type]


def test_a_trail_that_comes_in_pages_is_one() -> None:
    connection = Answering([page(ROW[:2], 3), page(ROW[2:5], 6), page(ROW[5:])])
    one = host_trails.of_host("h1", connection, [ROW[4].head])  # type: ignore[arg-type]
    assert (one.state, one.head, one.known) == (State.WHOLE, ROW[-1].head, 1)
    assert connection.asked == ["1", "3", "6"]


def test_a_host_without_a_trail_is_empty_and_one_that_had_one_is_not() -> None:
    assert found(page([])).state is State.EMPTY
    assert found(page([]), known=[ROW[0].head]).state is State.TAMPERED


@pytest.mark.parametrize(
    ("records", "code"),
    [
        (ROW[:4], "cut_at_end"),
        (ROW[1:], "cut_at_start"),
        ([*ROW[:2], *ROW[3:]], "missing"),
        ([*ROW[:2], ROW[3], ROW[2], *ROW[4:]], "order"),
    ],
)
def test_what_was_done_to_it_is_said(records: Sequence[Record], code: str) -> None:
    one = found(page(records), known=[ROW[5].head])
    assert one.state is State.TAMPERED
    assert code in {problem.code for problem in one.problems}
    assert "fleetbox audit accept h1" in one.hint


@pytest.mark.parametrize(
    "answers",
    [
        [page(ROW[:2], 1)],
        [page(ROW[:2], 3), page(ROW[2:4], 3)],
        [{"entries": [chain.as_json(ROW[0]) | {"n": 7}], "next": None}],
        [{"entries": [{"damaged": {"bytes": -1, "sha256": "x", "torn": True}}], "next": None}],
        [{"entries": [1], "next": None}],
        [{"entries": [], "next": "many"}],
        [{"entries": {"a": []}}],
        [[]],
    ],
)
def test_an_answer_that_is_no_trail_is_a_failure(answers: Sequence[object]) -> None:
    assert found(*answers).state is State.FAILED


@pytest.mark.parametrize("following", [range(2, 10_000), [1], [3, 2]])
def test_a_trail_without_an_end_is_given_up(
    following: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_trails, "_ENTRIES_MAX", 20)
    connection = Answering([page(ROW, n) for n in following])
    one = host_trails.of_host("h1", connection, [])  # type: ignore[arg-type]
    assert (one.state, "does not come to an end" in one.message) == (State.FAILED, True)
    assert len(connection.asked) <= (4 if len(following) > 2 else len(following))


def test_what_cannot_be_asked_is_told_apart() -> None:
    assert host_trails.of_error("h1", Unreachable("down")).state is State.UNREACHABLE
    assert host_trails.of_error("h1", TrustRefused("another key")).state is State.UNTRUSTED
    assert host_trails.of_error("h1", ApplyFailed("cut")).state is State.FAILED
    assert "RuntimeError" in host_trails.of_error("h1", RuntimeError("bug")).message


def test_heads_are_known_from_answers_until_a_new_trail_is_accepted(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path)

    def known() -> dict[str, list[Head]]:
        with trail.entries() as entries:
            return host_trails.known_heads(entries)

    trail.record("push_answered", host="h1", audit=ROW[0].head._asdict())
    trail.record("push_answered", host="h2", audit=None)
    trail.record("push_answered", host="h3", audit={"seq": "1", "hash": 2})
    trail.record(SEEN, host="h1", audit=ROW[3].head._asdict())
    assert known() == {"h1": [ROW[0].head, ROW[3].head]}
    trail.record(ACCEPTED, host="h1", reason="new disk")
    assert known() == {}
    trail.record(SEEN, host="h1", audit=ROW[1].head._asdict())
    assert known() == {"h1": [ROW[1].head]}
