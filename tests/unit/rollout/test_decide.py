"""What answers and errors mean: the table of docs/exit-codes.md, tried row by row."""

import json

import pytest

from fleetbox.errors import ApplyFailed, ExitCode, Superseded, TrustRefused, Unreachable, UsageError
from fleetbox.facts import Gate
from fleetbox.rollout import decide
from fleetbox.rollout.answers import Activation, Confirmation, Failure, Status, read
from fleetbox.rollout.outcome import HostOutcome, Outcome, TrailHead
from fleetbox.rollout.shipment import HostAhead
from fleetbox.transport import Completed

SENT = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def _answer(rc: int, **body: object) -> Completed:
    return Completed(rc, json.dumps({"schema_version": 1, **body}).encode(), b"words\n")


def _end(completed: Completed) -> HostOutcome:
    return decide.of_activation("h1", read(Activation, completed), wanted=SENT)


def test_an_activation_tells_the_generation_and_what_was_before() -> None:
    end = _end(_answer(0, changed=True, generation=8, previous=7, digest=SENT, smoke=[], rolled_back=False))
    assert (end.outcome, end.generation, end.previous) == (Outcome.ACTIVATED, 8, 7)
    assert end.describe() == "activated generation 8"


def test_where_the_trail_of_a_host_ends_is_kept_with_every_answer() -> None:
    head = {"seq": 12, "hash": "c" * 64}
    ends = [
        _end(_answer(0, changed=True, generation=8, digest=SENT, audit=head)),
        _end(_answer(0, changed=True, generation=8, digest=OTHER, audit=head)),
        _end(_answer(5, error={"code": "smoke_failed", "message": "m"}, audit=head)),
    ]
    assert [end.audit for end in ends] == [TrailHead(12, "c" * 64)] * 3
    assert _end(_answer(0, changed=True, generation=8, digest=SENT, audit=None)).audit is None
    spoilt = {"seq": 0, "hash": "\x1b[31m"}
    assert _end(_answer(0, changed=True, generation=8, digest=SENT, audit=spoilt)).reason == "bad_answer"


def test_a_confirmation_tells_a_later_end_of_the_trail_or_leaves_the_one_before() -> None:
    first, later = TrailHead(12, "c" * 64), {"seq": 13, "hash": "d" * 64}
    activated = HostOutcome(host="h1", outcome=Outcome.ACTIVATED, audit=first)
    for model, rest in [
        (Confirmation, {"generation": 8, "digest": SENT}),
        (Failure, {"code": "too_late", "message": ""}),
    ]:
        ends = [
            decide.of_confirmation(activated, model.model_validate({**rest, "audit": said}))
            for said in (later, None)
        ]
        assert [end.audit for end in ends] == [TrailHead(13, "d" * 64), first]
    assert decide.unconfirmed(activated, Unreachable("gone")).audit == first


def test_content_that_was_changed_on_the_host_is_not_replaced_in_silence() -> None:
    end = _end(_answer(0, changed=False, repaired=True, generation=8, digest=SENT))
    assert (end.outcome, end.reason) == (Outcome.UNCHANGED, "repaired")
    assert end.message
    assert end.hint


def test_what_was_already_current_is_unchanged() -> None:
    assert _end(_answer(0, changed=False, generation=8, digest=SENT)).outcome is Outcome.UNCHANGED


def test_a_host_that_activated_something_else_is_not_trusted() -> None:
    end = _end(_answer(0, changed=True, generation=8, digest=OTHER))
    assert (end.outcome, end.reason) == (Outcome.TRUST_REFUSED, "digest_mismatch")


@pytest.mark.parametrize(
    ("code", "outcome", "exit_code"),
    [
        ("disk_full", Outcome.FAILED, ExitCode.APPLY_FAILED),
        ("no_inodes", Outcome.FAILED, ExitCode.APPLY_FAILED),
        ("busy", Outcome.FAILED, ExitCode.APPLY_FAILED),
        ("gate", Outcome.REFUSED, ExitCode.APPLY_FAILED),
        ("digest_mismatch", Outcome.TRUST_REFUSED, ExitCode.TRUST_REFUSED),
        ("tampered", Outcome.TRUST_REFUSED, ExitCode.TRUST_REFUSED),
    ],
)
def test_an_error_of_the_host_program_keeps_its_code_words_and_hint(
    code: str, outcome: Outcome, exit_code: ExitCode
) -> None:
    end = _end(_answer(5, error={"code": code, "message": "why", "hint": "then"}))
    assert (end.outcome, end.reason, end.message, end.hint) == (outcome, code, "why", "then")
    assert outcome.exit_code == exit_code


def test_failed_smoke_checks_are_a_rollback_only_when_the_host_says_it_went_back() -> None:
    error = {"code": "smoke_failed", "message": "FBX-FS-001", "hint": ""}
    back = _end(_answer(5, error=error, rolled_back=True, generation=7, digest=OTHER))
    assert (back.outcome, back.generation) == (Outcome.ROLLED_BACK, 7)
    assert _end(_answer(5, error=error, rolled_back=False)).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    "completed",
    [
        Completed(127, b"", b"sh: 1: /usr/local/bin/fleetbox-host: not found\n"),
        Completed(1, b"", b"sudo: /usr/local/bin/fleetbox-host: command not found\n"),
    ],
)
def test_a_host_without_the_program_is_told_which_command_installs_it(completed: Completed) -> None:
    end = _end(completed)
    assert (end.outcome, end.reason) == (Outcome.FAILED, "not_provisioned")
    assert end.hint == "ansible-playbook site.yml --limit h1"


@pytest.mark.parametrize(
    "stdout",
    [
        b"",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"changed": true}',
        b'{"changed": 1, "generation": "8", "digest": "x"}',
        b'{"changed": true, "generation": -1, "digest": "sha256:' + b"a" * 64 + b'"}',
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("rc", [0, 5, 137])
def test_an_answer_that_is_none_fails_and_is_never_taken_for_success(stdout: bytes, rc: int) -> None:
    end = _end(Completed(rc, stdout, b""))
    assert end.outcome is Outcome.FAILED
    assert end.reason in ("bad_answer", "host_program_failed")


def test_an_error_object_with_status_0_is_no_success() -> None:
    assert _end(_answer(0, error={"code": "gate", "message": "x"})).reason == "bad_answer"


def test_what_a_host_says_is_one_short_line_without_terminal_sequences() -> None:
    end = _end(_answer(5, error={"code": "busy", "message": "a\x1b[2J\n" + "b" * 10_000}))
    assert end.message.isprintable()
    assert len(end.message) <= 500


def test_a_code_that_is_no_code_is_not_passed_on() -> None:
    assert _end(_answer(5, error={"code": "\x1b[2J", "message": "x"})).reason == "host_program_failed"


def test_gates_refuse_with_problem_and_remedy() -> None:
    words = {"symptom": "seen", "problem": "this is WSL1", "remedy": "wsl --set-version Debian 2"}
    gate = Gate(id="wsl1", fixable_by_role=False, **words)
    end = decide.of_gates("h1", [gate])
    assert (end.outcome, end.reason, end.hint) == (Outcome.REFUSED, "wsl1", "wsl --set-version Debian 2")
    assert "nothing was changed" in end.message
    assert "and 1 more" in decide.of_gates("h1", [gate, gate]).message


@pytest.mark.parametrize(
    ("digest", "outcome"),
    [(SENT, Outcome.UNCHANGED), (OTHER, Outcome.WOULD_ACTIVATE), (None, Outcome.WOULD_ACTIVATE)],
)
def test_a_check_compares_digests(digest: str | None, outcome: Outcome) -> None:
    status = Status(generation=3 if digest else None, digest=digest)
    assert decide.of_status("h1", status, wanted=SENT).outcome is outcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Unreachable("down"), Outcome.UNREACHABLE),
        (TrustRefused("key"), Outcome.TRUST_REFUSED),
        (Superseded("later"), Outcome.SUPERSEDED),
        (HostAhead("999"), Outcome.TRUST_REFUSED),
        (UsageError("option"), Outcome.MISCONFIGURED),
        (ApplyFailed("late"), Outcome.FAILED),
        (KeyError("bug"), Outcome.FAILED),
    ],
)
def test_an_error_on_the_way_has_an_outcome_of_its_own(error: Exception, outcome: Outcome) -> None:
    assert decide.of_error("h1", error).outcome is outcome


@pytest.mark.parametrize(
    ("outcomes", "exit_code"),
    [
        ([Outcome.ACTIVATED, Outcome.UNCHANGED], 0),
        ([Outcome.ACTIVATED, Outcome.UNREACHABLE], 4),
        ([Outcome.UNREACHABLE, Outcome.REFUSED], 5),
        ([Outcome.ROLLED_BACK], 5),
        ([Outcome.FAILED, Outcome.TRUST_REFUSED, Outcome.UNREACHABLE], 6),
        ([Outcome.TRUST_REFUSED, Outcome.NOT_STARTED], 130),
        ([Outcome.MISCONFIGURED, Outcome.ACTIVATED], 2),
        ([], 2),
    ],
)
def test_the_exit_code_is_that_of_the_worst_host_and_no_host_is_no_success(
    outcomes: list[Outcome], exit_code: int
) -> None:
    ends = [HostOutcome(host=f"h{n}", outcome=outcome) for n, outcome in enumerate(outcomes)]
    assert decide.summarise(ends).exit_code == exit_code


def test_the_summary_counts_in_words() -> None:
    ends = [HostOutcome(host="a", outcome=o) for o in (Outcome.ACTIVATED, Outcome.ACTIVATED, Outcome.REFUSED)]
    assert decide.summarise(ends).words == "3 hosts: 2 activated, 1 refused"


def test_every_outcome_has_an_exit_code() -> None:
    assert all(outcome.exit_code in ExitCode for outcome in Outcome)


def test_a_failure_is_no_activation() -> None:
    assert isinstance(read(Activation, Completed(0, b"{}", b"")), Failure)


def _status(*digests: str, generation: int) -> Status:
    listed = [{"n": n, "digest": digest} for n, digest in enumerate(digests, start=1)]
    current = digests[generation - 1]
    return Status.model_validate({"generation": generation, "digest": current, "generations": listed})


def test_going_back_skips_what_is_newer_what_is_the_same_and_what_is_no_release() -> None:
    """The strictest baseline is a generation of a host and no release of anybody."""
    baseline = "sha256:" + "c" * 64
    status = _status(OTHER, baseline, SENT, baseline, generation=3)
    assert decide.earlier(status, None, {OTHER, SENT}.__contains__) == OTHER
    assert decide.earlier(status, 2, {OTHER, SENT}.__contains__) == baseline
    nowhere = decide.earlier(status, None, {SENT}.__contains__)
    assert isinstance(nowhere, Failure)
    assert nowhere.code == "no_such_generation"


def test_a_host_program_that_does_not_know_what_is_asked_is_to_be_installed_again() -> None:
    end = _end(_answer(2, error={"code": "usage", "message": "unrecognized arguments", "hint": "--help"}))
    assert end.hint == "ansible-playbook site.yml --limit h1"
