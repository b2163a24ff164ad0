"""`fleetbox policy …` through the front door: output, streams, exit codes, and never a traceback."""

import json
from pathlib import Path

import pytest
import yaml

from fleetbox import bundle, cli
from fleetbox.conformance import expect
from fleetbox.policy import load_policy, presets
from tests.unit.policy.documents import HEAD, policy_file
from tests.unit.policy.test_violations import EIGHT

POLICIES = Path(__file__).resolve().parents[3] / "policies"
BASE = str(POLICIES / "base.yml")
OFFLINE = str(POLICIES / "offline.yml")

Output = pytest.CaptureFixture[str]


def run(capsys: Output, *argv: object) -> tuple[int, str, str]:
    code = cli.invoke([str(arg) for arg in ("policy", *argv)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_lint_shows_eight_mistakes_and_ends_with_3(tmp_path: Path, capsys: Output) -> None:
    path = policy_file(tmp_path, EIGHT)
    code, out, err = run(capsys, "lint", path, BASE)
    assert code == 3
    assert err.count(f"{path}:") == 8
    assert err.count("hint: ") == 8
    assert err.count("^\n") >= 8
    assert "Traceback" not in err
    assert out.startswith(f"{BASE}: valid: base sha256:")
    assert out.count("\n") == 1


def test_lint_says_valid_and_ends_with_0(capsys: Output) -> None:
    code, out, err = run(capsys, "lint", *sorted(POLICIES.glob("*.yml")))
    assert (code, out.count(": valid: "), err) == (0, len(presets.names()), "")


def test_lint_as_json_is_data_only(tmp_path: Path, capsys: Output) -> None:
    code, out, err = run(capsys, "lint", "--json", policy_file(tmp_path, EIGHT), BASE)
    assert (code, err) == (3, "")
    wrong, right = json.loads(out)["files"]
    assert len(wrong["violations"]) == 8
    assert wrong["violations"][0]["line"] == 4
    assert right["violations"] == []


def test_lint_of_a_missing_file_is_a_usage_error(tmp_path: Path, capsys: Output) -> None:
    code, _, err = run(capsys, "lint", tmp_path / "gone.yml")
    assert code == 2
    assert "hint:" in err


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"\xff", b"[" * 5000, b"a: &a [*a]", b"- - - -", b"? : ?", b"%YAML 9\n---\n", b"'" * 9999,
        b"{" * 9, b"a: |\n b", b"\xef\xbb\xbf", b"--- >\n", b"!", b"&", b"*", b"a: !!binary x", b"{a: b}: c",
    ],
)  # fmt: skip
def test_no_bytes_end_in_a_traceback(tmp_path: Path, capsys: Output, data: bytes) -> None:
    path = tmp_path / "x.yml"
    path.write_bytes(data)
    code, out, err = run(capsys, "lint", path)
    assert (code, out) == (3, "")
    assert "internal error" not in err


def test_show_prints_a_policy_that_means_the_same(tmp_path: Path, capsys: Output) -> None:
    _, out, _ = run(capsys, "show", OFFLINE)
    digest = out.splitlines()[0].rpartition(" ")[2]
    shown = tmp_path / "shown.yml"
    shown.write_text(out)
    code, out, _ = run(capsys, "show", "--json", shown)
    assert code == 0
    assert json.loads(out)["digest"] == digest
    assert yaml.safe_load(shown.read_text())["devices"]["gpu"]["mode"] == "none"


def test_show_says_where_each_field_comes_from(capsys: Output) -> None:
    _, out, _ = run(capsys, "show", "--json", OFFLINE)
    assert json.loads(out)["origins"]["devices.gpu.mode"].startswith(f"{OFFLINE}:")


def test_render_prints_the_operations_and_the_parity(capsys: Output) -> None:
    code, out, _ = run(capsys, "render", BASE)
    assert code == 0
    assert "none  ${HOME}/.ssh" in out
    assert "field" in out
    assert "network.mode" in out


def test_render_refuses_what_the_target_cannot_enforce(tmp_path: Path, capsys: Output) -> None:
    path = policy_file(tmp_path, "network: {mode: proxy}\n")
    code, out, err = run(capsys, "render", path)
    assert (code, out) == (3, "")
    assert "network.mode" in err
    assert f"{path}:4" in err


def test_render_escapes_what_a_variable_holds(tmp_path: Path, capsys: Output) -> None:
    path = policy_file(tmp_path, 'environment: {set: {A: "\\e[2J"}}\n')
    _, out, _ = run(capsys, "render", path)
    assert "\x1b" not in out


def test_diff_names_changes_and_can_say_so_in_the_exit_code(capsys: Output) -> None:
    code, out, err = run(capsys, "diff", BASE, OFFLINE)
    assert code == 0
    assert "narrows  next launch  devices.gpu.mode: auto → none" in out
    assert "0 widens" in err
    assert run(capsys, "diff", "--detailed-exitcode", BASE, OFFLINE)[0] == 20
    assert run(capsys, "diff", "--detailed-exitcode", BASE, BASE)[0] == 0


def test_diff_as_json_has_both_digests(capsys: Output) -> None:
    _, out, err = run(capsys, "diff", "--json", BASE, OFFLINE)
    data = json.loads(out)
    assert err == ""
    assert data["before"] != data["after"]
    assert {change["effect"] for change in data["changes"]} <= {"neutral", "narrows"}


def test_explain_says_access_rule_and_reason(capsys: Output) -> None:
    code, out, _ = run(capsys, "explain", BASE, "~/.ssh/id_ed25519", "--home", "/home/me")
    assert code == 0
    assert out.startswith("none ")
    assert f"a rule of {BASE}:" in out
    _, out, _ = run(capsys, "explain", "--json", BASE, "a", "--workspace", "/w")
    assert json.loads(out)["access"] == "write"


def test_schema_is_printed_as_published(capsys: Output) -> None:
    _, out, _ = run(capsys, "schema")
    assert out == (POLICIES.parent / "docs" / "policy.schema.json").read_text()


@pytest.mark.parametrize("command", ["lint", "show", "render", "schema", "diff", "explain"])
def test_each_command_explains_itself_with_an_example(capsys: Output, command: str) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert f"Example: fleetbox policy {command}" in out


def test_an_invalid_policy_is_shown_the_same_by_every_command(tmp_path: Path, capsys: Output) -> None:
    path = policy_file(tmp_path, "mode: x\n", head=HEAD)
    for argv in (["show", path], ["render", path], ["diff", BASE, path], ["explain", path, "a"]):
        code, out, err = run(capsys, *argv)
        assert (code, out) == (3, "")
        assert f"{path}:4:7 mode: not one of" in err


def test_the_digest_of_a_bundle_is_the_one_that_a_push_of_these_files_would_send(capsys: Output) -> None:
    built = bundle.build([one := load_policy(Path(BASE))], {one.name: expect.checks_for(one)})
    assert run(capsys, "digest", BASE) == (0, f"{built.digest}\n", "")
    both = json.loads(run(capsys, "digest", "--json", BASE, OFFLINE)[1])
    assert (both["policies"], both["digest"] == built.digest) == (["base", "offline"], False)
    assert both["digest"] != json.loads(run(capsys, "digest", "--json", OFFLINE, BASE)[1])["digest"]
    assert run(capsys, "digest", "gone.yml")[0] == 2
