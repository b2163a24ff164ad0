"""The refusal logs are written by the users themselves: nothing in them may surprise the reader."""

import json
import os
from argparse import Namespace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import paths
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.why import why

UID = os.geteuid()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    directory = tmp_path / paths.REFUSALS.lstrip("/")
    directory.mkdir(parents=True)
    return directory


def entry(time: Any = 1, **fields: Any) -> str:
    said = {
        "schema_version": 1,
        "time": time,
        "uid": UID,
        "policy": "p",
        "command": "c",
        "problem": "x",
        "hint": "h",
    }
    return json.dumps({**said, **fields}) + "\n"


def ask(tmp_path: Path, last: int = 20, user: str | None = None) -> dict[str, Any]:
    return why(Places(str(tmp_path)), Namespace(last=last, user=user, command=[]), BytesIO())


def test_the_newest_come_last_and_no_more_than_asked_for(tmp_path: Path, logs: Path) -> None:
    (logs / f"{UID}.jsonl").write_text("".join(entry(time) for time in (3, 1, 2)))
    assert [found["time"] for found in ask(tmp_path, last=2)["refusals"]] == [2, 3]


def test_a_terminal_cannot_be_driven_through_a_log(tmp_path: Path, logs: Path) -> None:
    (logs / f"{UID}.jsonl").write_text(entry(problem="\x1b]0;owned\x07\u202e\x7f\n"))
    [found] = ask(tmp_path)["refusals"]
    assert found["problem"] == r"\x1b]0;owned\x07\u202e\x7f\n"


@pytest.mark.parametrize("line", ["{", "[]", "{}", "[" * 10_000, entry(time="1"), entry(hint=1)])
def test_lines_that_no_launcher_wrote_are_counted(tmp_path: Path, logs: Path, line: str) -> None:
    (logs / f"{UID}.jsonl").write_text(entry() + line.strip() + "\n")
    answer = ask(tmp_path)
    assert len(answer["refusals"]) == 1
    assert answer["skipped"] == [f"{logs}/{UID}.jsonl: 1 unreadable lines"]


def test_the_uid_is_the_files_owner_whatever_the_line_says(tmp_path: Path, logs: Path) -> None:
    (logs / f"{UID}.jsonl").write_text(entry(uid=4242, extra="dropped"))
    [found] = ask(tmp_path)["refusals"]
    assert (found["uid"], found.keys()) == (UID, {"time", "uid", "policy", "command", "problem", "hint"})


def test_a_log_of_another_owner_is_not_read(tmp_path: Path, logs: Path) -> None:
    (logs / f"{UID + 1}.jsonl").write_text(entry())
    answer = ask(tmp_path)
    assert answer["refusals"] == []
    assert "not a regular file of uid" in answer["skipped"][0]


def test_a_link_to_a_secret_is_not_read(tmp_path: Path, logs: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(entry(problem="secret"))
    (logs / f"{UID}.jsonl").symlink_to(secret)
    assert ask(tmp_path)["refusals"] == []


def test_a_fifo_does_not_hang_the_reader(tmp_path: Path, logs: Path) -> None:
    os.mkfifo(logs / f"{UID}.jsonl")
    assert "not a regular file" in ask(tmp_path)["skipped"][0]


def test_only_the_end_of_a_huge_log_is_read(tmp_path: Path, logs: Path) -> None:
    (logs / f"{UID}.jsonl").write_text(
        entry(problem="old") + entry(hint="x" * 1000) * 1000 + entry(problem="new")
    )
    found = ask(tmp_path, last=10_000)["refusals"]
    assert found[-1]["problem"] == "new"
    assert 100 < len(found) < 1000


def test_one_user_can_be_asked_for(tmp_path: Path, logs: Path) -> None:
    (logs / f"{UID}.jsonl").write_text(entry())
    assert len(ask(tmp_path, user=str(UID))["refusals"]) == 1
    assert ask(tmp_path, user=str(UID + 1))["refusals"] == []
    with pytest.raises(HostError, match="no account"):
        ask(tmp_path, user="nobody-of-this-name")


def test_a_host_without_refusals_has_none(tmp_path: Path) -> None:
    assert ask(tmp_path) == {"refusals": [], "skipped": []}
