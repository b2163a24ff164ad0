"""What a policy resolves to: one spelling, one digest, and resolving again changes nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleetbox.policy import Access, GpuMode, Mode, load_policy, load_preset
from tests.unit.policy.documents import bodies, load, policy_file, resolved


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("~", "${HOME}"),
        ("~/", "${HOME}"),
        ("~//a/./b/", "${HOME}/a/b"),
        ("$HOME/a", "${HOME}/a"),
        ("${HOME}/a", "${HOME}/a"),
        ("$WORKSPACE", "${WORKSPACE}"),
        ("$WORKSPACE/a~b", "${WORKSPACE}/a~b"),
        ("${TMPDIR}/x", "${TMPDIR}/x"),
        ("/a//b/.//c/", "/a/b/c"),
        ("/data/[id]/x", "/data/[id]/x"),
        ("/data/日本", "/data/日本"),
    ],
)
def test_a_path_has_one_spelling(tmp_path: Path, written: str, path: str) -> None:
    rule = f'{{path: "{written}", access: read}}'
    assert [rule.path for rule in load(tmp_path, f"filesystem: {{rules: [{rule}]}}\n").filesystem.rules] == [
        path
    ]


def test_the_smallest_policy_is_a_sandbox(tmp_path: Path) -> None:
    policy = load(tmp_path, "")
    assert policy.mode is Mode.WORKSPACE_WRITE
    assert policy.network.mode == "none"
    assert policy.filesystem.tmp == "private"
    assert ".git" in policy.filesystem.protect
    assert policy.devices.gpu.mode is GpuMode.AUTO
    assert not policy.process.nested_sandboxes
    assert policy.explicit == frozenset()


def test_read_only_writes_nowhere_and_has_a_gpu_only_when_asked(tmp_path: Path) -> None:
    policy = load(tmp_path, "mode: read-only\n")
    assert policy.filesystem.workspace is Access.READ
    assert policy.devices.gpu.mode is GpuMode.NONE
    assert load(tmp_path, "mode: read-only\ngpu_passthrough: true\n").devices.gpu.mode is GpuMode.AUTO


@pytest.mark.parametrize(("short", "mode"), [("true", "auto"), ("false", "none")])
def test_gpu_passthrough_is_the_short_form(tmp_path: Path, short: str, mode: str) -> None:
    policy = load(tmp_path, f"gpu_passthrough: {short}\n")
    assert policy.devices.gpu.mode == mode
    assert policy.explicit == {"devices.gpu.mode"}


def test_unprotecting_takes_the_name_out_and_writing_protect_adds(tmp_path: Path) -> None:
    policy = load(tmp_path, "filesystem: {protect: [secrets/, .git], unprotect: [.git]}\n")
    assert policy.filesystem.protect == (".agents", ".aws", ".claude", ".codex", "secrets")
    assert policy.filesystem.unprotect == (".git",)


def test_explicit_is_what_was_written_anywhere_and_origin_says_where(tmp_path: Path) -> None:
    policy_file(
        tmp_path, "process: {limits: {pids: 5}}\nfilesystem: {rules: [{path: /b, access: read}]}\n", "a.yml"
    )
    policy = load(
        tmp_path, "extends: [a.yml]\nlandlock: off\nfilesystem:\n  rules:\n    - {path: /a, access: read}\n"
    )
    assert policy.explicit == {"process.limits.pids", "landlock", "filesystem.rules"}
    assert policy.origin("landlock") == f"{tmp_path}/policy.yml:5"
    assert policy.origin("filesystem.rules[0]") == f"{tmp_path}/policy.yml:8"
    assert policy.origin("filesystem.rules[1]") == f"{tmp_path}/a.yml:5"
    assert policy.origin("mode") == "default"


def test_full_access_resolves_to_nothing_but_itself(tmp_path: Path) -> None:
    document = load(tmp_path, "mode: full-access\n").document()
    assert set(document) == {"apiVersion", "kind", "metadata", "mode"}


def test_the_digest_is_the_same_on_every_machine() -> None:
    # A changed digest means that every host is sent a new generation: change it on purpose only.
    document = {"filesystem": {"rules": [{"path": "~/.ssh", "access": "none"}]}, "mode": "workspace-write"}
    assert resolved(document).digest == (
        "sha256:81f8ae66a5ee1bbadbdf65e50397c43357369862d10b42710af7832824bfe9b1"
    )


def test_order_comments_and_files_do_not_count_for_the_digest(tmp_path: Path) -> None:
    one = load(tmp_path, "filesystem: {rules: [{path: /a, access: read}, {path: /b, access: none}]}\n")
    policy_file(tmp_path, "filesystem: {rules: [{path: /a/, access: read}]}  # why\n", "a.yml")
    two = load(tmp_path, "extends: [a.yml]\nfilesystem: {rules: [{path: //b, access: none}]}\n")
    assert one.digest == two.digest
    assert one.explicit == two.explicit


def test_what_is_written_twice_counts_once(tmp_path: Path) -> None:
    once = load(tmp_path, "devices: {allow: [/dev/kvm]}\nenvironment: {pass: [EDITOR]}\n")
    twice = load(tmp_path, "devices: {allow: [/dev/kvm, /dev/kvm]}\nenvironment: {pass: [EDITOR, EDITOR]}\n")
    assert (twice.digest, twice.devices.allow) == (once.digest, ("/dev/kvm",))


@pytest.mark.parametrize("name", ["base", "gpu-workstation", "offline", "read-only"])
def test_what_show_prints_loads_to_the_same_policy(tmp_path: Path, name: str) -> None:
    policy = load_preset(name)
    path = tmp_path / "shown.yml"
    path.write_text(yaml.safe_dump(policy.document(), sort_keys=False))
    assert load_policy(path).canonical_json() == policy.canonical_json()


@given(bodies(), st.sampled_from(["workspace-write", "read-only"]))
def test_resolving_twice_changes_nothing(body: dict[str, Any], mode: str) -> None:
    if mode == "read-only" and "filesystem" in body:
        body["filesystem"]["workspace"] = "read"
        body["filesystem"]["rules"] = [r for r in body["filesystem"]["rules"] if r["access"] != "write"]
    once = resolved({**body, "mode": mode})
    twice = resolved(json.loads(once.canonical_json()))
    assert twice.canonical_json() == once.canonical_json()
    assert twice.digest == once.digest


@given(bodies(), st.randoms(use_true_random=False))
def test_the_order_of_lists_does_not_count(body: dict[str, Any], random: Any) -> None:
    once = resolved(body)
    for section in body.values():
        for value in section.values() if isinstance(section, dict) else ():
            if isinstance(value, list):
                random.shuffle(value)
    assert resolved(body).digest == once.digest
