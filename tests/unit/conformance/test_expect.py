"""What a policy calls for, and what it gives away on purpose."""

from pathlib import Path
from typing import Any

import pytest

from fleetbox.conformance.expect import can_be_checked, checks_for
from fleetbox.hostside.checks import CHECKS
from fleetbox.policy import ResolvedPolicy, load_policy

PRESETS = Path(__file__).resolve().parents[3] / "policies"
HEAD = "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: tried}\n"


def policy(tmp_path: Path, text: str = "") -> ResolvedPolicy:
    path = tmp_path / "policy.yml"
    path.write_text(HEAD + text)
    return load_policy(path)


def params(tmp_path: Path, text: str = "") -> dict[str, dict[str, Any]]:
    return {check["id"]: check["params"] for check in checks_for(policy(tmp_path, text))}


@pytest.mark.parametrize("preset", sorted(PRESETS.glob("*.yml")), ids=lambda path: path.stem)
def test_every_preset_calls_for_every_check(preset: Path) -> None:
    planned = checks_for(load_policy(preset))
    assert [check["id"] for check in planned] == [check.id for check in CHECKS]
    assert not [check["id"] for check in planned if "not_applicable" in check["params"]]


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("network: {mode: host}", "FBX-NET-001"),
        ("filesystem: {tmp: host}", "FBX-FS-008"),
        ("process: {nested_sandboxes: true}", "FBX-NS-001"),
        ("process: {allow_host_pids: true}", "FBX-NS-003"),
        ("filesystem: {unprotect: [.agents, .aws, .claude, .codex]}", "FBX-FS-004"),
    ],
)
def test_what_a_policy_gives_away_is_not_applicable_and_nothing_else(
    tmp_path: Path, text: str, check: str
) -> None:
    strict, loose = (
        params(tmp_path, "filesystem: {rules: [{path: ~/.ssh, access: none}]}"),
        params(tmp_path, text),
    )
    unwanted = {name for name, given in loose.items() if "not_applicable" in given} - {"FBX-FS-005"}
    assert unwanted == {check}
    assert "not_applicable" not in strict[check]


@pytest.mark.parametrize(
    ("listed", "checkable"),
    [("[git, sh]", False), ("[git, python3]", True), ("[/usr/bin/python3.11]", True), ("[python]", False)],
)
def test_a_policy_that_lists_programs_can_be_checked_with_a_python(
    listed: str, checkable: bool, tmp_path: Path
) -> None:
    assert can_be_checked(policy(tmp_path, f"process: {{allowed_binaries: {listed}}}")) is checkable


def test_full_access_still_owes_an_active_sandbox(tmp_path: Path) -> None:
    planned = params(tmp_path, "mode: full-access")
    owed = {name for name, given in planned.items() if "not_applicable" not in given}
    assert owed == {"FBX-SBX-001", "FBX-SBX-002", "FBX-POL-001"}


def test_a_read_only_workspace_is_expected_to_be_read_only(tmp_path: Path) -> None:
    assert params(tmp_path)["FBX-FS-002"] == {"access": "write"}
    assert params(tmp_path, "mode: read-only")["FBX-FS-002"] == {"access": "read"}


def test_credentials_are_looked_for_where_the_policy_denies_them(tmp_path: Path) -> None:
    rules = "filesystem: {rules: [{path: ~/.ssh, access: none}, {path: ~/.ssh/config, access: none}, \
        {path: ~/.own, access: none}, {path: ~/.netrc, access: read}]}"
    assert params(tmp_path, rules)["FBX-FS-005"] == {"places": ["${HOME}/.own", "${HOME}/.ssh"]}
    assert "not_applicable" in params(tmp_path)["FBX-FS-005"]


def test_a_minimal_root_hides_all_credentials(tmp_path: Path) -> None:
    places = params(tmp_path, "filesystem: {root: minimal}")["FBX-FS-005"]["places"]
    assert {"${HOME}/.ssh", "${HOME}/.aws"} <= set(places)


def test_start_up_files_that_a_rule_opens_are_left_out(tmp_path: Path) -> None:
    opened = params(tmp_path, "filesystem: {rules: [{path: ~/.bashrc, access: write}]}")
    assert "${HOME}/.bashrc" not in opened["FBX-FS-006"]["paths"]
    assert "${HOME}/.profile" in opened["FBX-FS-006"]["paths"]


def test_git_is_expected_whole_unless_it_is_unprotected(tmp_path: Path) -> None:
    assert params(tmp_path)["FBX-FS-003"] == {"whole": True}
    assert params(tmp_path, "filesystem: {unprotect: [.git]}")["FBX-FS-003"] == {"whole": False}


def test_a_variable_that_is_set_is_no_twin_of_one_that_is_passed(tmp_path: Path) -> None:
    assert "TZ" in params(tmp_path)["FBX-ENV-001"]["pass"]
    assert "TZ" not in params(tmp_path, "environment: {set: {TZ: UTC}}")["FBX-ENV-001"]["pass"]


def test_the_digest_is_the_policys(tmp_path: Path) -> None:
    assert params(tmp_path)["FBX-POL-001"] == {"digest": policy(tmp_path).digest}


def test_gpu_checks_are_told_what_the_policy_selects_and_names(tmp_path: Path) -> None:
    text = "devices: {gpu: {select: [1, 0], profile: graphics, vendors: [nvidia]}, allow: [/dev/kvm]}"
    planned = params(tmp_path, text)
    told = {
        "gpu": "auto",
        "vendors": ["nvidia"],
        "select": ["0", "1"],
        "profile": "graphics",
        "allowed": ["/dev/kvm"],
    }
    assert planned["FBX-GPU-001"] == planned["FBX-GPU-003"] == told
    assert planned["FBX-GPU-002"] == planned["FBX-GPU-005"] == {**told, "sockets": True}
    assert params(tmp_path, "gpu_passthrough: false")["FBX-GPU-001"]["vendors"] == []
    assert params(tmp_path, "process: {unix_sockets: none}")["FBX-GPU-002"]["sockets"] is False


def test_the_process_that_uses_a_gpu_is_denied_what_the_policy_denies_and_no_more(tmp_path: Path) -> None:
    parts = params(tmp_path, "filesystem: {rules: [{path: ~/.ssh, access: none}]}")["FBX-GPU-004"]["parts"]
    assert set(parts) == {"FBX-NET-001", "FBX-NET-004", "FBX-FS-001", "FBX-FS-005"}
    assert parts["FBX-FS-005"] == {"places": ["${HOME}/.ssh"]}
    given = params(tmp_path, "network: {mode: host}")["FBX-GPU-004"]["parts"]
    assert set(given) == {"FBX-NET-004", "FBX-FS-001"}
    assert given["FBX-NET-004"] == {"abstract": False}
