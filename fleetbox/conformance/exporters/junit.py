"""JUnit: one suite per host, one case per check.

JUnit has no word for "nothing is known": an inconclusive check is an `<error type="Inconclusive">`, because a
case without a mark counts as passed everywhere.
"""

import io

import junitparser

from fleetbox.conformance.catalogue import load
from fleetbox.conformance.model import HostRecord, Result, Run, Status

_TYPES = {Status.ERROR: "Error", Status.INCONCLUSIVE: "Inconclusive", Status.STALE: "Stale"}


def export(run: Run) -> bytes:
    """Valid XML whatever hosts said: characters that XML forbids are replaced."""
    report = junitparser.JUnitXml("fleetbox")
    for host in run.hosts:
        report.add_testsuite(_suite(run, host))
    out = io.BytesIO()
    report.write(out)
    return out.getvalue()


def _suite(run: Run, host: HostRecord) -> junitparser.TestSuite:
    suite = junitparser.TestSuite(_text(host.name))
    suite.hostname = _text(host.name)
    suite.timestamp = run.started.replace(tzinfo=None).isoformat()
    properties = {"state": host.state.value, "policy": host.policy, "policy_digest": host.intended}
    for name, value in {**properties, "reason": host.reason}.items():
        if value:
            suite.add_property(name, _text(value))
    for result in host.results:
        suite.add_testcase(_case(result))
    return suite


def _case(result: Result) -> junitparser.TestCase:
    entry = load().get(result.check_id)
    title = entry.title if entry else "unknown check"
    case = junitparser.TestCase(
        f"{result.check_id} {title}", f"fleetbox.{result.check_id}", result.duration_ms / 1000
    )
    if mark := _mark(result):
        case.result = [mark]
    return case


def _mark(result: Result) -> junitparser.Failure | junitparser.Error | junitparser.Skipped | None:
    message = _text(f"{result.reason}: {result.message}" if result.reason else result.message)
    match result.status:
        case Status.PASS:
            return None
        case Status.FAIL:
            return junitparser.Failure(message, result.severity.value)
        case Status.NOT_APPLICABLE | Status.NOT_RUN | Status.MISSING:
            return junitparser.Skipped(f"{result.status.value}: {message}")
        case Status.ERROR | Status.INCONCLUSIVE | Status.STALE:
            return junitparser.Error(message, _TYPES[result.status])


def _text(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
