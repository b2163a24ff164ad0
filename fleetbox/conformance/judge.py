"""What results mean together: score and coverage as two numbers, and the exit code of a run. Pure.

Score says how much of what was decided holds; coverage says how much was decided at all. A run in which
nothing was decided has no score, and is never a success.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fleetbox.conformance.model import HostRecord, HostState, Result, Run, Severity, Status
from fleetbox.errors import ExitCode, worst
from fleetbox.hostside import checks

_SCORED = (Status.PASS, Status.FAIL, Status.NOT_RUN, Status.ERROR)
_DECIDED = (Status.PASS, Status.FAIL)
_STATE_CODES = {
    HostState.ANSWERED: ExitCode.OK,
    HostState.REFUSED: ExitCode.COVERAGE_TOO_LOW,
    HostState.UNREACHABLE: ExitCode.UNREACHABLE,
    HostState.UNTRUSTED: ExitCode.TRUST_REFUSED,
    HostState.FAILED: ExitCode.APPLY_FAILED,
}


@dataclass(frozen=True)
class Tally:
    """How often each status occurred."""

    counts: Counter[Status]

    @classmethod
    def of(cls, statuses: Iterable[Status]) -> "Tally":
        """Count them."""
        return cls(Counter(statuses))

    @property
    def score(self) -> float | None:
        """Percent of pass among pass, fail, not run and error; None with none of these."""
        return _percent(self.counts[Status.PASS], sum(self.counts[status] for status in _SCORED))

    @property
    def coverage(self) -> float | None:
        """Percent of pass and fail among everything that applies; None when nothing does."""
        applicable = self.counts.total() - self.counts[Status.NOT_APPLICABLE]
        return _percent(sum(self.counts[status] for status in _DECIDED), applicable)


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def tally_run(run: Run) -> Tally:
    """All results of all hosts."""
    return Tally.of(result.status for host in run.hosts for result in host.results)


def completed(
    results: Sequence[Result], planned: Sequence[dict[str, Any]], *, status: Status, reason: str, message: str
) -> tuple[Result, ...]:
    """One result for each planned check, in that order; those that are not there get `status`."""
    found = {result.check_id: result for result in results}
    return tuple(
        found.get(check["id"]) or _absent(check, status=status, reason=reason, message=message)
        for check in planned
    )


def _absent(check: dict[str, Any], *, status: Status, reason: str, message: str) -> Result:
    known = checks.BY_ID.get(check["id"])
    version = known.version if known else 0
    if why := check["params"].get("not_applicable"):
        status, reason, message = Status.NOT_APPLICABLE, "not_applicable", str(why)
    return Result(
        check_id=check["id"], check_version=version, status=status, reason=reason, message=message[:600]
    )


def every_check() -> list[dict[str, Any]]:
    """The plan for a host of which nothing is known: all checks, none with parameters."""
    return [{"id": check.id, "params": {}} for check in checks.CHECKS]


def failures(host: HostRecord, *, fail_on: Severity) -> list[Result]:
    """Results that make a run nonconformant."""
    bad = (Status.FAIL, Status.ERROR)
    return [result for result in host.results if result.status in bad and result.severity.at_least(fail_on)]


def exit_code(run: Run, *, fail_on: Severity = Severity.LOW, min_coverage: float = 100.0) -> ExitCode:
    """The most urgent of what the hosts' states, the failures and the coverage call for."""
    codes = [_STATE_CODES[host.state] for host in run.hosts]
    if any(failures(host, fail_on=fail_on) for host in run.hosts):
        codes.append(ExitCode.NONCONFORMANT)
    coverage = tally_run(run).coverage
    if coverage is None or coverage < min_coverage:
        codes.append(ExitCode.COVERAGE_TOO_LOW)
    return worst(codes)
