"""What a host says is read strictly, or not at all."""

import json
from typing import Any

import pytest

from fleetbox.conformance.model import AnswerInvalid, Status, parse_answer, parse_results

HOST_ID = "b" * 64


def spoken(**changes: Any) -> dict[str, Any]:
    return {
        "check_id": "FBX-FS-001",
        "check_version": 1,
        "status": "pass",
        "reason": "denied_by_mount_ro",
        "expected": "",
        "observed": {"op": "create", "errno": "EROFS"},
        "controls": {"outside": {"ok": True, "detail": ""}, "inside": {"ok": True, "detail": ""}},
        "message": "",
        "duration_ms": 3,
        **changes,
    }


def answer(*results: dict[str, Any], **changes: Any) -> bytes:
    body = {"schema_version": 1, "results": list(results), "host": {"host_id": HOST_ID}, **changes}
    return json.dumps(body).encode()


def test_an_answer_as_hosts_give_it_is_read() -> None:
    read = parse_answer(answer(spoken()))
    assert read.results[0].status is Status.PASS
    assert read.host.host_id == HOST_ID


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        answer(spoken(), schema_version=2),
        answer(spoken(status="green")),
        answer(spoken(status="stale")),
        answer(spoken(status="missing")),
        answer(spoken(check_id="FBX-FS-1")),
        answer(spoken(message="\x1b[2J")),
        answer(spoken(message="line\nbreak")),
        answer(spoken(message="x" * 601)),
        answer(spoken(duration_ms=True)),
        answer(spoken(duration_ms=2**31)),
        answer(spoken(severity="low")),
        answer(spoken(controls={})),
        answer(spoken(observed={"op": "x", "shell": "y"})),
        answer(spoken(), spoken()),
        answer(*(spoken(check_id=f"FBX-FS-{n:03}") for n in range(201))),
        answer(spoken(), host={"host_id": "somebody"}),
        answer(spoken(), host={"digest": "sha256:short"}),
    ],
    ids=range(21),
)
def test_anything_else_is_refused_without_quoting_it(text: bytes) -> None:
    with pytest.raises(AnswerInvalid) as refused:
        parse_answer(text)
    assert str(refused.value).isprintable()
    assert "\x1b" not in str(refused.value)


def test_smoke_results_follow_the_same_rules() -> None:
    assert parse_results([spoken()])[0].check_id == "FBX-FS-001"
    with pytest.raises(AnswerInvalid):
        parse_results([spoken(message="\x07")])
    with pytest.raises(AnswerInvalid):
        parse_results({"0": spoken()})


def test_severity_is_the_catalogues_and_unknown_counts_as_critical() -> None:
    read = parse_answer(answer(spoken(check_id="FBX-FS-008"), spoken(check_id="FBX-ZZ-999")))
    assert [result.severity.value for result in read.results] == ["medium", "critical"]
