"""The control machine's trail: private, complete, and a command that cannot be recorded does not begin."""

import stat
from pathlib import Path

import pytest

from fleetbox.errors import ExitCode, UsageError
from fleetbox.hostside.chain import Record
from fleetbox.rollout.audit import AuditTrail, unended
from fleetbox.rollout.outcome import HostOutcome, Outcome, TrailHead

HEAD = TrailHead(7, "a" * 64)


def records(trail: AuditTrail) -> list[Record]:
    with trail.entries() as row:
        return [entry for entry in row if isinstance(entry, Record)]


def test_a_command_leaves_its_beginning_every_answer_and_its_end(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "state")
    command = trail.begin("push", ["h1", "h2"], bundle="sha256:b")
    command.answered(HostOutcome(host="h1", outcome=Outcome.ACTIVATED, generation=3, audit=HEAD))
    command.answered(HostOutcome(host="h2", outcome=Outcome.UNREACHABLE, message="no route", hint="ping"))
    assert command.end(ExitCode.UNREACHABLE) is ExitCode.UNREACHABLE
    assert command.problem == ""
    begun, first, second, ended = records(trail)
    assert [r.event for r in (begun, first, second, ended)] == [
        "push_begun", "push_answered", "push_answered", "push_ended"
    ]  # fmt: skip
    assert begun.fields["hosts"] == ["h1", "h2"]
    assert {"by", "at", "came_from", "pid", "fleetbox"} <= begun.fields.keys()
    assert first.fields["audit"] == {"seq": 7, "hash": "a" * 64}
    assert (second.fields["outcome"], second.fields["message"]) == ("unreachable", "no route")
    assert ended.fields["exit_code"] == 4
    assert {r.fields["begun"] for r in (first, second, ended)} == {begun.seq}


def test_it_is_private_to_who_pushes(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "state")
    assert trail.head() is None
    assert not (tmp_path / "state").exists(), "who only looks makes nothing"
    trail.begin("push", ["h1"])
    made = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
    assert len(made) == 3
    assert not [path for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_only_what_has_no_end_is_not_ended(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path)
    first, second = trail.begin("push", []), trail.begin("rollback", [])
    assert unended(records(trail)) == {1, 2}
    second.end(ExitCode.OK)
    assert unended(records(trail)) == {1}
    first.end(ExitCode.OK)
    assert unended(records(trail)) == set()


def test_a_command_that_cannot_be_recorded_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("")
    with pytest.raises(UsageError, match="audit"):
        AuditTrail(tmp_path).begin("push", ["h1"])


def test_an_answer_that_cannot_be_recorded_stops_nothing_and_is_no_success(tmp_path: Path) -> None:
    command = AuditTrail(tmp_path).begin("push", ["h1", "h2"])
    (tmp_path / "audit").chmod(0o777)
    command.answered(HostOutcome(host="h1", outcome=Outcome.ACTIVATED))
    assert command.end(ExitCode.OK) is ExitCode.INTERNAL
    assert command.problem.startswith("2 record(s) are missing in the audit trail: ")
    assert "can be written by others" in command.problem


def test_a_fleet_of_any_size_can_be_recorded(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path)
    trail.begin("push", [f"a-host-with-quite-a-long-name-{n:06}.example.org" for n in range(30_000)])
    [begun] = records(trail)
    assert begun.fields["count"] == 30_000
    assert 5_000 < len(begun.fields["hosts"]) < 10_000


def test_a_text_of_any_length_can_be_recorded(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path)
    command = trail.begin("push", ["h1"], selection="x" * 10**7)
    command.answered(HostOutcome(host="h1", outcome=Outcome.FAILED, message="\udc80" * 10**7))
    assert command.problem == ""
