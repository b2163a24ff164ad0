"""`fleetbox audit` on this machine's own trail: what it lists, what it says of damage, how it ends."""

import json
from pathlib import Path

import pytest

from fleetbox import cli as frame
from fleetbox.errors import ExitCode
from fleetbox.rollout.audit import AuditTrail
from fleetbox.rollout.outcome import HostOutcome, Outcome


@pytest.fixture
def state(tmp_path: Path) -> Path:
    trail = AuditTrail(tmp_path)
    what = {"policies": [{"name": "base"}], "selection": "gpu", "bundle": None, "waived": ["--no-verify"]}
    command = trail.begin("push", ["h1", "h2"], **what)
    command.answered(HostOutcome(host="h1", outcome=Outcome.FAILED, message="\x1b[31mred"))
    command.end(ExitCode.APPLY_FAILED)
    trail.begin("rollback", ["h2"], to=7)
    return tmp_path


def run(state: Path, *argv: str) -> int:
    return frame.invoke(["audit", *argv, "--state-dir", str(state)])


def test_a_line_says_it_all_and_drives_no_terminal(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(state, "list") == 0
    begun, answered, ended, open_one = capsys.readouterr().out.splitlines()
    assert "push begun" in begun
    assert "base  2 host(s)  -l gpu  waived: --no-verify" in begun
    assert "h1  failed  \\x1b[31mred" in answered
    assert "of 1  exit 5" in ended
    assert open_one.endswith("to generation 7  1 host(s)  (not ended: it runs, or was killed)")


@pytest.mark.parametrize(
    ("argv", "seqs"),
    [
        (["--host", "h1"], [1, 2]),
        (["--host", "h2"], [1, 4]),
        (["--event", "push"], [1, 2, 3]),
        (["--event", "push_begun"], [1]),
        (["--since", "1h"], [1, 2, 3, 4]),
        (["--since", "2020-01-01"], [1, 2, 3, 4]),
        (["-n", "2"], [3, 4]),
    ],
)
def test_what_is_asked_for_is_listed(
    state: Path, argv: list[str], seqs: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, "list", "--json", *argv) == 0
    assert [record["seq"] for record in json.loads(capsys.readouterr().out)["records"]] == seqs


@pytest.mark.parametrize(
    "argv", [["--host", "h9"], ["--since", "2999-01-01T00:00+02:00"], ["--event", "pus"]]
)
def test_where_nothing_is_there_the_end_is_2(state: Path, argv: list[str]) -> None:
    assert run(state, "list", *argv) == ExitCode.USAGE


def test_an_empty_trail_is_nothing_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "list") == run(tmp_path, "verify") == ExitCode.USAGE
    assert "nothing was recorded" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["list", "--since", "yesterday"],
        ["list", "--since", "999999w"],
        ["verify", "--expect", "7"],
        ["verify", "--expect", "0:" + "a" * 64],
        ["accept", "h1"],
        ["accept", "h1", "--reason", "x"],
    ],
)
def test_what_makes_no_sense_is_refused(state: Path, argv: list[str]) -> None:
    assert run(state, *argv) == ExitCode.USAGE


def test_a_whole_trail_prints_a_head_that_can_be_expected(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, "verify") == 0
    head = capsys.readouterr().out.split()[-1]
    assert run(state, "verify", "--expect", head) == 0
    assert run(state, "verify", "--expect", head.replace("4:", "5:")) == ExitCode.TRUST_REFUSED
    assert "had a record 5 before" in capsys.readouterr().err


def test_a_changed_trail_ends_with_6_and_is_listed_nevertheless(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = state / "audit/0000000000000001.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"h1"', b'"h3"', 1))
    assert run(state, "verify") == ExitCode.TRUST_REFUSED
    assert "no record as it was written" in capsys.readouterr().err
    assert run(state, "list") == 0
    assert "fleetbox audit verify" in capsys.readouterr().err
