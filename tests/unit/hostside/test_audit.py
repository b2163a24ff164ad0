"""The host's own trail: what it says of itself, in bounds, and when it may stop a change."""

import io
import json
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import audit, chain, paths
from fleetbox.hostside.__main__ import main
from fleetbox.hostside.chain import Damage
from fleetbox.hostside.chain_check import check
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.paths import Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "var/log").mkdir(parents=True)
    return Places(str(tmp_path))


@pytest.fixture
def file(places: Places) -> Path:
    return Path(places.under(paths.AUDIT)) / "0000000000000001.jsonl"


def ask(places: Places, *argv: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main(["audit", *argv], stdin=io.BytesIO(), places=places)
    return code, json.loads(capsys.readouterr().out)


def test_a_host_without_a_trail_says_so(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.head(places) is None
    code, answer = ask(places, capsys=capsys)
    assert (code, answer["entries"], answer["next"]) == (0, [], None)
    assert ask(places, "--verify", capsys=capsys)[1]["head"] is None
    assert not Path(places.under(paths.LOGS)).exists(), "who only asks makes nothing"


def test_what_was_recorded_is_told_and_is_the_head(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    first = audit.record(places, "activation_begun", digest="sha256:x", number=7, nothing=None)
    second = audit.record(places, "activation_ended", smoke=[{"check_id": "FBX"}], ok=True)
    assert audit.head(places) == second
    code, answer = ask(places, capsys=capsys)
    assert code == 0
    entries = [chain.from_json(entry) for entry in answer["entries"]]
    assert [entry.head for entry in entries if isinstance(entry, chain.Record)] == [first, second]
    _, since = ask(places, "--since", "2", capsys=capsys)
    assert since["entries"] == answer["entries"][1:]
    assert ask(places, "--verify", capsys=capsys)[1]["head"] == second._asdict()


def test_a_changed_trail_ends_with_6_and_says_what(
    places: Places, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(3):
        audit.record(places, "happened", n=n)
    file.write_bytes(file.read_bytes().replace(b'"n":1', b'"n":2'))
    code, answer = ask(places, "--verify", capsys=capsys)
    assert (code, answer["error"]["code"]) == (6, "tampered")
    assert {problem["code"] for problem in answer["problems"]} == {"changed", "missing"}
    assert ask(places, capsys=capsys)[0] == 0, "the trail itself can still be fetched"


def test_a_long_trail_comes_in_pages_that_hold_all_of_it(
    places: Places, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(30):
        audit.record(places, "happened", n=n)
        if n == 9:
            file.write_bytes(file.read_bytes() + b'{"to')
    monkeypatch.setattr(audit, "_ANSWER_MAX", 1500)
    found, since, pages = [], 1, 0
    while since:
        answer = audit.audit(places, Namespace(verify=False, since=since), io.BytesIO())
        found += [chain.from_json(entry) for entry in answer["entries"]]
        since, pages = answer["next"], pages + 1
    assert pages > 5
    tear = audit.audit(places, Namespace(verify=False, since=11), io.BytesIO())["entries"][0]
    assert tear["damaged"].keys() == {"bytes", "sha256", "torn"}, "what lies before a record comes with it"
    whole = [entry for entry in found if entry is not None]
    assert [entry.seq for entry in whole if not isinstance(entry, Damage)] == list(range(1, 32))
    assert [problem.code for problem in check(whole)] == ["torn"]


def test_what_is_too_long_for_a_record_is_cut(places: Places) -> None:
    audit.record(
        places, "happened", text="x" * 10**6, many=list(range(10**5)), deep={"a": {"b": "y" * 10**6}}
    )
    answer = audit.audit(places, Namespace(verify=False, since=1), io.BytesIO())
    assert len(json.dumps(answer)) < 4000


def test_what_cannot_be_recorded_refuses_a_change_and_never_a_way_back(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    os.rmdir(places.under("/var/log"))
    Path(places.under("/var/log")).write_text("")
    with pytest.raises(HostError):
        audit.record(places, "activation_begun")
    assert audit.attempt(places, "rolled_back") is None
    assert "rolled_back was not recorded" in capsys.readouterr().err
    assert audit.head(places) is None


def test_a_way_back_goes_on_whatever_it_is_recorded_with(places: Places) -> None:
    assert audit.attempt(places, "Not a code") is None
    assert audit.attempt(places, "rolled_back", seq=5) is None
    assert audit.attempt(places, "rolled_back", odd=object()) is not None


def test_a_directory_of_logs_that_is_made_here_lets_users_through(places: Places) -> None:
    before = os.umask(0o077)
    try:
        audit.record(places, "happened")
    finally:
        os.umask(before)
    assert os.stat(places.under(paths.LOGS)).st_mode & 0o777 == 0o755
    assert os.stat(places.under(paths.AUDIT)).st_mode & 0o777 == 0o750
