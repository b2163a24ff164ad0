"""The rule of negative checks: only a denial that both controls attribute to the sandbox passes."""

import pytest

from fleetbox.hostside.probes.outcome import Attempt, Outcome, Tried, Verdict, allowed, denied

WORKED = Outcome(True)
CREATE = Attempt("create", {"path": "/x"})
TCP = Attempt("reach_tcp", {"address": "192.0.2.1", "port": 9})
OWN_TCP = Attempt("reach_tcp", {"address": "127.0.0.1", "port": 9, "token": "t"})
TWIN = (Attempt("own_child", {}), WORKED)


def failed(errno: str) -> Outcome:
    return Outcome(False, errno)


def judged(
    inside: Outcome, outside: Outcome = WORKED, attempt: Attempt = CREATE, twin: Outcome = WORKED
) -> Verdict:
    return denied([Tried(attempt, inside, outside)], [(TWIN[0], twin)], expected="", needed=1)


@pytest.mark.parametrize(
    ("errno", "reason"),
    [
        ("EROFS", "denied_by_mount_ro"),
        ("ENOENT", "denied_by_absence"),
        ("EACCES", "denied_by_mask"),
        ("EPERM", "denied_by_mask"),
        ("EBUSY", "denied_by_mountpoint"),
    ],
)
def test_a_denial_with_both_controls_passes_and_says_how(errno: str, reason: str) -> None:
    verdict = judged(failed(errno))
    assert (verdict.status, verdict.reason) == ("pass", reason)


def test_success_inside_fails_whatever_the_controls_say() -> None:
    assert judged(WORKED).status == "fail"
    assert judged(WORKED, outside=failed("EACCES"), twin=failed("EPERM")).status == "fail"


def test_without_the_outside_control_a_denial_is_inconclusive() -> None:
    verdict = judged(failed("EROFS"), outside=failed("EACCES"))
    assert (verdict.status, verdict.reason) == ("inconclusive", "control_failed")
    assert not verdict.outside.ok


def test_without_the_twin_a_denial_is_inconclusive() -> None:
    verdict = judged(failed("EROFS"), twin=failed("EPERM"))
    assert (verdict.status, verdict.reason) == ("inconclusive", "control_failed")
    assert not verdict.inside.ok


def test_a_refused_connection_is_a_route() -> None:
    assert judged(failed("ECONNREFUSED"), attempt=TCP).reason == "route_exists"
    assert judged(failed("ECONNREFUSED"), attempt=TCP).status == "fail"


def test_a_refusal_in_the_place_of_our_own_listener_is_somebody_elses_loopback() -> None:
    assert judged(failed("ECONNREFUSED"), attempt=OWN_TCP).status == "pass"


def test_a_timeout_is_inconclusive() -> None:
    verdict = judged(failed("ETIMEDOUT"), attempt=TCP)
    assert (verdict.status, verdict.reason) == ("inconclusive", "timeout")


def test_an_errno_that_no_sandbox_denies_with_is_inconclusive() -> None:
    assert judged(failed("EIO")).reason == "unexpected_errno"


def test_a_filter_that_kills_denies_and_any_other_death_is_an_error() -> None:
    assert judged(Outcome(False, signal=31)).reason == "denied_by_seccomp"
    assert judged(Outcome(False, signal=11)).status == "error"
    assert judged(Outcome(False)).status == "error"


def test_targets_beyond_the_needed_ones_count_only_with_their_control() -> None:
    rows = [Tried(CREATE, failed("EROFS"), WORKED), Tried(CREATE, failed("EIO"), failed("EACCES"))]
    assert denied(rows, [TWIN], expected="", needed=1).status == "pass"
    assert denied(rows, [TWIN], expected="", needed=2).status == "inconclusive"
    rows[1] = Tried(CREATE, WORKED, failed("EACCES"))
    assert denied(rows, [TWIN], expected="", needed=1).status == "fail"


def test_nothing_tried_is_an_error() -> None:
    assert denied([], [TWIN], expected="", needed=0).status == "error"


def test_what_must_work_fails_only_where_it_works_outside() -> None:
    assert allowed([Tried(CREATE, WORKED, WORKED)], expected="").status == "pass"
    assert allowed([Tried(CREATE, failed("EROFS"), WORKED)], expected="").status == "fail"
    assert allowed([Tried(CREATE, failed("EROFS"), failed("ENOSPC"))], expected="").status == "inconclusive"
