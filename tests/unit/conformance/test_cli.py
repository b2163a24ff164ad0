"""verify, results and checks as commands: what is mistyped is refused before a host is contacted."""

import json
from pathlib import Path

import pytest

from fleetbox import cli
from fleetbox.conformance.model import HostState, Status
from fleetbox.conformance.store import Store
from fleetbox.errors import ExitCode
from tests.unit.conformance.made import host, result, run

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def state(tmp_path: Path) -> str:
    """A state directory with two runs in it."""
    store = Store(f"sqlite:///{tmp_path / 'results.db'}")
    store.save(run(host("gpu1", result()), run_id="0001-aa"), ExitCode.OK)
    broken = result(status=Status.FAIL, message="create /x worked inside", expected="nothing outside")
    refused = host("wsl1", state=HostState.REFUSED, reason="this is WSL1")
    store.save(run(host("gpu1", broken), refused, run_id="0002-bb"), ExitCode.NONCONFORMANT)
    store.close()
    return str(tmp_path)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--checks", "FBX-NET-01"], "FBX-NET-01"),
        (["--checks", ""], "there is no check ''"),
        (["--egress-peer", "192.0.2.1"], "ADDR:PORT"),
        (["--egress-peer", "192.0.2.1:99999"], "ADDR:PORT"),
        (["--report", "pdf"], "pdf"),
        (["--json", "--report", "junit"], "stdout"),
        (["--fail-on", "severe"], "--fail-on"),
        (["-i", "h1,", "-l", "h2"], "h2"),
    ],
)
def test_what_is_mistyped_ends_with_2(argv: list[str], said: str, tmp_path: Path, capsys: Captured) -> None:
    assert cli.invoke(["verify", "-i", "h1,", "--state-dir", str(tmp_path), *argv]) == ExitCode.USAGE
    assert said in capsys.readouterr().err


def test_an_invalid_policy_to_verify_against_ends_with_3(tmp_path: Path) -> None:
    policy = tmp_path / "p.yml"
    policy.write_text("mode: nonsense\n")
    argv = ["verify", "-i", "h1,", "--state-dir", str(tmp_path), "--policy", str(policy)]
    assert cli.invoke(argv) == ExitCode.POLICY_INVALID


def test_runs_are_listed_newest_first(state: str, capsys: Captured) -> None:
    assert cli.invoke(["results", "list", "--state-dir", state, "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [(one["run_id"], one["exit_code"]) for one in runs] == [("0002-bb", 100), ("0001-aa", 0)]


def test_show_says_what_failed_with_its_evidence_and_why_a_host_was_refused(
    state: str, capsys: Captured
) -> None:
    assert cli.invoke(["results", "show", "--state-dir", state]) == 0
    shown = capsys.readouterr().out
    assert "FBX-FS-001" in shown
    assert "expected: nothing outside" in shown
    assert "this is WSL1" in shown


def test_a_run_or_host_that_is_not_there_ends_with_2(state: str) -> None:
    assert cli.invoke(["results", "show", "9999", "--state-dir", state]) == ExitCode.USAGE
    assert cli.invoke(["results", "show", "--host", "h9", "--state-dir", state]) == ExitCode.USAGE


def test_the_matrix_has_every_host_and_json_has_the_same(state: str, capsys: Captured) -> None:
    assert cli.invoke(["results", "matrix", "--state-dir", state]) == 0
    text = capsys.readouterr().out
    assert "✗ FAIL" in text
    assert "wsl1" in text
    assert cli.invoke(["results", "matrix", "--state-dir", state, "--json"]) == 0
    hosts = json.loads(capsys.readouterr().out)["hosts"]
    assert {one["host"]: one["statuses"] for one in hosts} == {"gpu1": {"FBX-FS-001": "fail"}, "wsl1": {}}


def test_nothing_stored_is_said_and_is_not_success(tmp_path: Path) -> None:
    assert cli.invoke(["results", "matrix", "--state-dir", str(tmp_path)]) == ExitCode.USAGE


def test_checks_are_shown_in_any_case_and_an_unknown_one_ends_with_2(capsys: Captured) -> None:
    assert cli.invoke(["checks", "show", "fbx-net-001"]) == 0
    assert "Direct egress" in capsys.readouterr().out
    assert cli.invoke(["checks", "show", "FBX-NET-999"]) == ExitCode.USAGE
