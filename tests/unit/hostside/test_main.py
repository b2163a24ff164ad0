"""The frame: one JSON object and an exit code, whatever happens."""

import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fleetbox.hostside.__main__ import VERBS, main
from fleetbox.hostside.paths import Places

Said = tuple[int, dict[str, Any], str]


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*argv: str, stdin: bytes = b"") -> Said:
        code = main(argv, stdin=io.BytesIO(stdin), places=Places(str(tmp_path)))
        printed = capsys.readouterr()
        [line] = printed.out.splitlines()
        return code, json.loads(line), printed.err

    return run


@pytest.fixture
def broken_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts with a bug whose message has several lines."""

    def facts(*_arguments: object) -> None:
        raise RuntimeError("first line\nsecond line")

    module = ModuleType("fleetbox.hostside.detect")
    module.__dict__["facts"] = facts
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("frobnicate",),
        ("stage",),
        ("stage", "sha256:XYZ"),
        ("stage", "0" * 64),
        ("activate", f"sha256:{'0' * 64}", "--bundle", "file.tar"),
        ("rollback", "--to", "0"),
        ("rollback", "--to", "²"),
        ("why", "--last", "-1"),
        ("status", "--deb"),
    ],
)
def test_a_mistake_on_the_command_line_is_json_and_2(say: Any, argv: tuple[str, ...]) -> None:
    code, answer, words = say(*argv)
    assert (code, answer["schema_version"], answer["error"]["code"]) == (2, 1, "usage")
    assert words.startswith("fleetbox-host: ")


@pytest.mark.usefixtures("broken_facts")
def test_a_bug_is_one_line_and_1(say: Any) -> None:
    code, answer, words = say("facts")
    assert (code, answer["error"]["code"]) == (1, "internal")
    assert answer["error"]["message"] == "internal error: RuntimeError: first line"
    assert "Traceback" not in words


@pytest.mark.usefixtures("broken_facts")
def test_debug_adds_the_traceback_on_stderr(say: Any) -> None:
    code, _, words = say("facts", "--debug")
    assert code == 1
    assert "Traceback" in words


@pytest.mark.usefixtures("broken_facts")
def test_ansible_gets_the_error_as_the_fact(say: Any) -> None:
    code, answer, _ = say("facts", "--for-ansible")
    assert (code, answer["error"]["code"]) == (0, "internal")


@pytest.mark.parametrize(
    "request_text",
    [
        b"{",
        b"[]",
        b'{"check": []}',
        b'{"user": 0}',
        b'{"checks": {}}',
        b'{"checks": [{"id": 1, "params": {}}]}',
        b'{"checks": [{"id": "FBX-FS-001"}]}',
        b"[" * 100_000,
        b" " * 2_000_000,
    ],
)
def test_a_malformed_probe_request_is_refused_before_anything_runs(say: Any, request_text: bytes) -> None:
    code, answer, _ = say("probe", stdin=request_text)
    assert (code, answer["error"]["code"]) == (2, "usage")


def test_every_verb_has_its_function(say: Any) -> None:
    for verb, module in VERBS.items():
        __import__(f"fleetbox.hostside.{module}")
        assert callable(getattr(sys.modules[f"fleetbox.hostside.{module}"], verb))
