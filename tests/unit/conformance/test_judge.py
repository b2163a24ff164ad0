"""Score and coverage are two numbers, and nothing decided is never success."""

import pytest

from fleetbox.conformance import judge
from fleetbox.conformance.judge import Tally
from fleetbox.conformance.model import HostState, Severity, Status
from fleetbox.errors import ExitCode
from tests.unit.conformance.made import host, result, run

PASS, FAIL, ERROR = Status.PASS, Status.FAIL, Status.ERROR


def test_score_leaves_out_what_was_not_decided_and_coverage_counts_it() -> None:
    tally = Tally.of([PASS, PASS, PASS, FAIL, Status.INCONCLUSIVE, Status.NOT_APPLICABLE])
    assert tally.score == 75
    assert tally.coverage == 80


def test_not_run_lowers_the_score_and_not_applicable_nothing() -> None:
    assert Tally.of([PASS, Status.NOT_RUN]).score == 50
    assert Tally.of([PASS, Status.NOT_APPLICABLE]).score == 100


def test_nothing_decided_has_no_score() -> None:
    assert Tally.of([]).score is None
    assert Tally.of([Status.NOT_APPLICABLE]).coverage is None


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([PASS], ExitCode.OK),
        ([PASS, Status.NOT_APPLICABLE], ExitCode.OK),
        ([PASS, FAIL], ExitCode.NONCONFORMANT),
        ([PASS, ERROR], ExitCode.NONCONFORMANT),
        ([PASS, Status.INCONCLUSIVE], ExitCode.COVERAGE_TOO_LOW),
        ([PASS, Status.NOT_RUN], ExitCode.COVERAGE_TOO_LOW),
        ([PASS, Status.MISSING], ExitCode.COVERAGE_TOO_LOW),
        ([FAIL, Status.INCONCLUSIVE], ExitCode.NONCONFORMANT),
        ([Status.NOT_APPLICABLE], ExitCode.COVERAGE_TOO_LOW),
        ([], ExitCode.COVERAGE_TOO_LOW),
    ],
)
def test_the_exit_code_of_one_host(statuses: list[Status], code: ExitCode) -> None:
    results = [result(f"FBX-FS-{n:03}", status) for n, status in enumerate(statuses)]
    assert judge.exit_code(run(host("a", *results))) is code


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (HostState.REFUSED, ExitCode.COVERAGE_TOO_LOW),
        (HostState.UNREACHABLE, ExitCode.UNREACHABLE),
        (HostState.UNTRUSTED, ExitCode.TRUST_REFUSED),
        (HostState.FAILED, ExitCode.APPLY_FAILED),
    ],
)
def test_a_host_that_gave_no_results_decides_beside_a_good_one(state: HostState, code: ExitCode) -> None:
    bad = host("b", result("FBX-FS-001", Status.NOT_RUN), state=state)
    assert judge.exit_code(run(host("a", result()), bad)) is code


def test_no_hosts_at_all_is_not_success() -> None:
    assert judge.exit_code(run()) is not ExitCode.OK


def test_fail_on_ignores_lesser_failures_and_no_worse_ones() -> None:
    medium = run(host("a", result("FBX-FS-008", FAIL), result("FBX-FS-001")))
    assert judge.exit_code(medium, fail_on=Severity.HIGH) is ExitCode.OK
    assert judge.exit_code(medium, fail_on=Severity.MEDIUM) is ExitCode.NONCONFORMANT
    assert judge.exit_code(run(host("a", result("FBX-FS-001", FAIL))), fail_on=Severity.HIGH) == 100


def test_min_coverage_is_a_floor() -> None:
    half = run(host("a", result("FBX-FS-001"), result("FBX-FS-002", Status.INCONCLUSIVE)))
    assert judge.exit_code(half, min_coverage=50) is ExitCode.OK
    assert judge.exit_code(half, min_coverage=50.1) is ExitCode.COVERAGE_TOO_LOW


def test_what_a_host_left_out_is_there_as_missing() -> None:
    planned = [
        {"id": "FBX-FS-001", "params": {}},
        {"id": "FBX-FS-002", "params": {}},
        {"id": "FBX-FS-008", "params": {"not_applicable": "shared"}},
    ]
    filled = judge.completed(
        [result("FBX-FS-002")], planned, status=Status.MISSING, reason="missing", message="nothing said"
    )
    assert [(r.check_id, r.status) for r in filled] == [
        ("FBX-FS-001", Status.MISSING),
        ("FBX-FS-002", Status.PASS),
        ("FBX-FS-008", Status.NOT_APPLICABLE),
    ]
