"""Files: what counts as one, what `extends` reaches, and that nothing else is ever read or waited for."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetbox.errors import UsageError
from fleetbox.policy import Access, Mode, PolicyInvalid, load_policy
from tests.unit.policy.documents import HEAD, load, policy_file, violations

# No measurement, which a busy machine would fail: what is waited for never comes.
ends = pytest.mark.timeout(60)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (Path.mkdir, "a directory"),
        (os.mkfifo, "a pipe"),
        (_socket, "a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "a device node"),
        (lambda path: path.symlink_to("/nowhere"), "No such file"),
        (_loop, "symbolic links"),
        (lambda path: path.write_bytes(b""), "an empty file"),
        (lambda path: path.write_bytes(b"# nothing\n"), "an empty file"),
        (lambda path: path.write_bytes(b"\x7fELF\0\0"), "a binary file"),
        (lambda path: path.write_bytes("mode: x".encode("utf-16")), "a binary file"),
        (lambda path: path.write_bytes(b"a: \xff\xfe"), "not UTF-8"),
        (lambda path: path.write_bytes(b"a: \xed\xa0\x80"), "not UTF-8"),
        (lambda path: path.write_bytes(b"a: b\n" * 60_000), "larger than 256 KiB"),
        (lambda path: path.write_bytes(b"[a, b]\n"), "not a mapping"),
        (lambda path: path.write_bytes(b"text\n"), "not a mapping"),
    ],
)
@ends
def test_what_is_no_policy_file_is_one_violation_and_never_waited_for(
    tmp_path: Path, make: Callable[[Path], object], problem: str
) -> None:
    path = tmp_path / "policy.yml"
    make(path)
    with pytest.raises(PolicyInvalid) as caught:
        load_policy(path)
    (violation,) = caught.value.violations
    assert problem in violation.problem
    assert violation.file == str(path)
    assert violation.hint


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "policy.yml"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(PolicyInvalid, match="1 violation"):
        load_policy(path)


def test_a_missing_file_is_a_usage_error_and_a_presets_place_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_policy(Path("base"))
    assert "policies/base.yml" in caught.value.hint
    with pytest.raises(UsageError):
        load_policy(tmp_path / "gone.yml")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.yml"
    path.write_bytes(b"\xef\xbb\xbf" + (HEAD + "mode: read-only\n").replace("\n", "\r\n").encode())
    assert load_policy(path).mode is Mode.READ_ONLY
    path.write_bytes(b"\xef\xbb\xbfkind: x\r\n")
    with pytest.raises(PolicyInvalid) as caught:
        load_policy(path)
    (kind,) = (v for v in caught.value.violations if v.field == "kind")
    assert (kind.column, kind.source) == (7, "kind: x")


def test_a_preset_is_extended_by_name_and_a_file_relative_to_the_document(tmp_path: Path) -> None:
    (tmp_path / "teams").mkdir()
    policy_file(tmp_path, "extends: [base]\nfilesystem: {root: minimal}\n", "company.yml")
    path = policy_file(tmp_path / "teams", "extends: [../company.yml]\n")
    policy = load_policy(path)
    assert policy.filesystem.root == "minimal"
    assert any(rule.path == "${HOME}/.ssh" and rule.access is Access.NONE for rule in policy.filesystem.rules)
    assert policy.name == "test"


def test_later_documents_replace_values_and_add_to_lists(tmp_path: Path) -> None:
    policy_file(
        tmp_path,
        "filesystem: {root: minimal, tmp: host, protect: [a]}\nenvironment: {set: {A: one, B: one}}\n"
        "devices: {gpu: {select: [0]}}\n",
        "one.yml",
    )
    policy_file(tmp_path, "filesystem: {root: host, protect: [b]}\n", "two.yml")
    policy = load(
        tmp_path,
        "extends: [one.yml, two.yml]\nfilesystem: {protect: [c]}\nenvironment: {set: {B: two}}\n"
        "devices: {gpu: {select: [1]}}\n",
    )
    assert policy.filesystem.root == "host"
    assert policy.filesystem.tmp == "host"
    assert {"a", "b", "c", ".git"} <= set(policy.filesystem.protect)
    assert policy.environment.set == {"A": "one", "B": "two"}
    assert policy.devices.gpu.select == ("1",)


def test_a_document_may_cut_off_the_network_it_inherits(tmp_path: Path) -> None:
    policy_file(tmp_path, "network: {mode: proxy, outbound: [{host: a.b, ports: [443]}]}\n", "proxy.yml")
    policy = load(tmp_path, "extends: [proxy.yml]\nnetwork: {mode: none}\n")
    assert policy.network.outbound == ()


def test_the_same_document_twice_adds_nothing(tmp_path: Path) -> None:
    once = load(tmp_path, "extends: [base]\n")
    assert (
        load(tmp_path, "extends: [base, gpu-workstation, base]\n").filesystem.protect
        == once.filesystem.protect
    )
    rules = load(tmp_path, "extends: [base, base]\n").filesystem.rules
    assert rules == once.filesystem.rules


@pytest.mark.parametrize(
    ("entry", "problem", "hint"),
    [
        ("bsae", "no such preset", "base, baseline, gpu-workstation"),
        ("./gone.yml", "no such file", "relative to this document"),
        ("policy.yml", "a policy that extends itself", "policy.yml → policy.yml"),
        ("around.yml", "a policy that extends itself", "policy.yml → around.yml → policy.yml"),
        ("hidden.yml", "not a policy file", ".yml"),
    ],
)
def test_what_cannot_be_extended_is_said_where_it_is_asked_for(
    tmp_path: Path, entry: str, problem: str, hint: str
) -> None:
    policy_file(tmp_path, "extends: [policy.yml]\n", "around.yml")
    (tmp_path / "secret.txt").write_text("password: hunter2\n")
    (tmp_path / "hidden.yml").symlink_to("secret.txt")
    found = violations(tmp_path, f"extends: [base, {entry}]\n")
    assert problem in found[0].problem
    assert hint in found[0].hint
    assert found[0].value in (entry, "policy.yml")
    assert not any("hunter2" in str(violation) for violation in found)
    assert len(found) == 1


def test_mistakes_in_extended_files_come_with_their_own_place_and_once(tmp_path: Path) -> None:
    policy_file(tmp_path, "mode: x\n", "one.yml")
    policy_file(tmp_path, "extends: [one.yml]\nlandlock: y\n", "two.yml")
    found = violations(tmp_path, "extends: [one.yml, two.yml]\nfilesystem: {root: z}\n")
    assert [(Path(v.file).name, v.field) for v in found] == [
        ("policy.yml", "filesystem.root"),
        ("one.yml", "mode"),
        ("two.yml", "landlock"),
    ]


def test_a_contradiction_across_files_is_said_in_the_document_that_causes_it(tmp_path: Path) -> None:
    found = violations(tmp_path, "extends: [base]\nmode: full-access\n")
    assert {Path(v.file).name for v in found} == {"policy.yml"}
    assert any("policies/base.yml" in v.problem for v in found)


@ends
def test_many_documents_are_read_once_each_and_a_limit_holds(tmp_path: Path) -> None:
    policy_file(tmp_path, "", "p0.yml")
    for i in range(1, 40):
        policy_file(tmp_path, f"extends: [p{i - 1}.yml, ./p{i - 1}.yml]\n", f"p{i}.yml")
    load(tmp_path, "extends: [p39.yml]\n")
    for i in range(40, 80):
        policy_file(tmp_path, f"extends: [p{i - 1}.yml]\n", f"p{i}.yml")
    assert "too many documents" in violations(tmp_path, "extends: [p79.yml]\n")[0].problem


@ends
def test_ten_thousand_lines_are_read_in_bounded_time(tmp_path: Path) -> None:
    rules = "".join(f"    # why {i}\n    -\n      path: /data/{i}\n      access: read\n" for i in range(1000))
    policy_file(tmp_path, f"filesystem:\n  rules:\n{rules}", "below.yml")
    body = f"extends: [below.yml]\nfilesystem:\n  rules:\n{rules}" + "# more\n" * 6000
    assert len(load(tmp_path, body).filesystem.rules) == 1000
