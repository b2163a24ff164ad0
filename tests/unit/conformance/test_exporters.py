"""Reports are read by the real consumers, whatever hosts said."""

import json
from pathlib import Path

import junitparser
import pytest

from fleetbox.conformance import report
from fleetbox.conformance.exporters import FORMATS
from fleetbox.conformance.model import HostState, Run, Status
from fleetbox.errors import UsageError
from tests.unit.conformance.made import host, result, run

HOSTILE = "]]>\x00\x1b[31m<&\"'\ud800"


def every_status() -> Run:
    results = [result(f"FBX-FS-{n:03}", status, message="said") for n, status in enumerate(Status)]
    return run(host("gpu1", *results), host("wsl1", state=HostState.REFUSED, reason="WSL1", hint="upgrade"))


def test_junit_counts_what_consumers_count() -> None:
    suites = list(junitparser.JUnitXml.fromstring(FORMATS["junit"](every_status())))
    assert [suite.name for suite in suites] == ["gpu1", "wsl1"]
    first = suites[0]
    assert (first.tests, first.failures, first.errors, first.skipped) == (8, 1, 3, 3)


def test_junit_leaves_no_unknown_check_without_a_mark() -> None:
    suite = next(iter(junitparser.JUnitXml.fromstring(FORMATS["junit"](every_status()))))
    unmarked = [case.classname for case in suite if not case.result]
    assert unmarked == ["fleetbox.FBX-FS-000"]
    inconclusive = next(case for case in suite if case.classname == "fleetbox.FBX-FS-003")
    assert inconclusive.result[0].type == "Inconclusive"


def test_junit_is_xml_whatever_a_host_is_called() -> None:
    hostile = run(host(HOSTILE, reason=HOSTILE))
    (suite,) = junitparser.JUnitXml.fromstring(FORMATS["junit"](hostile))
    assert suite.name.isprintable()


def test_json_holds_everything_and_the_two_numbers() -> None:
    document = json.loads(FORMATS["json"](every_status()))
    assert document["schema"] == "fleetbox.run/v1"
    assert [h["name"] for h in document["hosts"]] == ["gpu1", "wsl1"]
    assert document["hosts"][0]["results"][1]["severity"] == "critical"
    assert document["score"] == pytest.approx(25)


def test_a_report_replaces_its_file_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    (parsed,) = report.parse([f"json:{target}"])
    parsed.write(every_status())
    assert json.loads(target.read_text())["run_id"] == "0199-aa"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize(
    "texts", [["pdf"], ["json", "junit"], ["json:/no/such/folder/x"], ["json:-", "junit:-"]]
)
def test_reports_that_cannot_be_written_are_refused_before_anything_happens(texts: list[str]) -> None:
    with pytest.raises(UsageError):
        report.parse(texts)


def test_a_report_on_stdout_has_it_for_itself() -> None:
    assert report.parse(["json", "junit:r.xml"])
    with pytest.raises(UsageError):
        report.parse(["json"], stdout_taken=True)
