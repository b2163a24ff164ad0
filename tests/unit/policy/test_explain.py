"""Precedence: the longest path decides, none before read before write, protected names before write."""

from pathlib import Path, PurePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbox.policy import Access
from fleetbox.policy.explain import Decision, explain
from fleetbox.policy.resolve import ResolvedPolicy
from fleetbox.policy.words import STRENGTH
from tests.unit.policy.documents import bodies, none_rules, resolved

HOME = PurePath("/home/me")
WORKSPACE = HOME / "work"


def decide(policy: ResolvedPolicy, path: str, workspace: PurePath = WORKSPACE) -> Decision:
    return explain(policy, path, workspace=workspace, home=HOME)


def access(rules: list[tuple[str, str]], path: str, **filesystem: Any) -> Access:
    listed = [{"path": p, "access": a, "allow_home": True} for p, a in rules]
    return decide(resolved({"filesystem": {"rules": listed, **filesystem}}), path).access


@pytest.mark.parametrize(
    ("rules", "path", "expected"),
    [
        ([], "/etc/passwd", "read"),
        ([], "src/main.c", "write"),
        ([], "/home/me/work", "write"),
        ([], "/home/me/working", "read"),
        ([], "/tmp/x", "write"),
        ([], "/var/tmp/x", "write"),
        ([], "../x", "read"),
        ([], "$WORKSPACE/x", "write"),
        ([], "//home/me/work/x", "write"),
        ([], "", "write"),
        ([("~", "write"), ("~/a", "none"), ("~/a/b", "write")], "~/a/b/c", "write"),
        ([("~", "write"), ("~/a", "none"), ("~/a/b", "write")], "~/a/c", "none"),
        (
            [("~/a", "none"), ("~/a/b", "read"), ("~/a/b/c", "none"), ("~/a/b/c/d", "write")],
            "~/a/b/c/d/e",
            "write",
        ),
        (
            [("~/a", "none"), ("~/a/b", "read"), ("~/a/b/c", "none"), ("~/a/b/c/d", "write")],
            "~/a/b/c/e",
            "none",
        ),
        ([("/a", "write"), ("/a", "read")], "/a/b", "read"),
        ([("/a", "write"), ("/a", "none"), ("/a", "read")], "/a/b", "none"),
        ([("~/a", "write"), ("/home/me/a", "none")], "~/a", "none"),
        ([("$WORKSPACE", "none")], "src", "none"),
        ([("/home", "none")], "src", "write"),
        ([("/home", "none")], "~/x", "none"),
        ([("$WORKSPACE/**/*.env", "none")], "a/b/.env", "none"),
        ([("$WORKSPACE/**/*.env", "none")], "x.env", "none"),
        ([("$WORKSPACE/**/*.env", "none")], "x.envy", "write"),
        ([("$WORKSPACE/**/*.env", "none"), ("$WORKSPACE/x.env", "write")], "x.env", "none"),
        ([("$WORKSPACE/**/keys", "none")], "a/keys/b", "none"),
        ([("$WORKSPACE/**/keys", "none"), ("$WORKSPACE/a/keys/pub", "read")], "a/keys/pub/x", "read"),
        ([("$WORKSPACE/*/b", "none")], "a/c/b", "write"),
        ([("~/.*_history", "none")], "~/.bash_history", "none"),
        ([("~/.*_history", "none")], "~/a/.bash_history", "read"),
        ([("~/?", "none")], "~/ab", "read"),
        ([("~/a/*", "none")], "~/a/.hidden.txt", "none"),
    ],
)
def test_the_longest_matching_path_decides(rules: list[tuple[str, str]], path: str, expected: str) -> None:
    assert access(rules, path) == expected


@pytest.mark.parametrize(
    ("rules", "filesystem", "path", "expected"),
    [
        ([], {}, ".git/config", "read"),
        ([], {}, ".git", "read"),
        ([], {}, ".gitignore", "write"),
        ([], {}, "sub/.git/config", "write"),
        ([("~", "write")], {}, "~/.aws/config", "read"),
        ([("~/.codex", "write")], {}, "~/.codex/sessions", "write"),
        ([("/home/me/work/.git/x", "write")], {}, ".git/x", "read"),
        ([("$WORKSPACE/.git", "write")], {}, ".git/x", "read"),
        ([("$WORKSPACE/.git/secret", "none")], {}, ".git/secret", "none"),
        ([], {"unprotect": [".git"]}, ".git/index", "write"),
        ([], {"unprotect": [".git"]}, ".git/hooks/pre-commit", "read"),
        ([], {"unprotect": [".git"]}, ".git/config", "read"),
        ([], {"protect": ["a/b"]}, "a/b/c", "read"),
        ([], {"workspace": "read"}, "src", "read"),
        ([], {"tmp": "host"}, "/tmp/.git/x", "read"),
        ([], {"tmp": "private"}, "/tmp/.git/x", "write"),
    ],
)  # fmt: skip
def test_protected_names_win_over_write(
    rules: list[tuple[str, str]], filesystem: dict[str, Any], path: str, expected: str
) -> None:
    assert access(rules, path, **filesystem) == expected


def test_a_minimal_root_hides_what_no_rule_names() -> None:
    assert access([("/data", "read")], "/srv", root="minimal") == "none"
    assert access([("/data", "read")], "/data/x", root="minimal") == "read"


def test_the_answer_names_the_rule_and_where_it_was_written() -> None:
    policy = resolved({"filesystem": {"rules": [{"path": "~/.ssh", "access": "none"}]}})
    decision = decide(policy, "~/.ssh/id")
    assert decision.rule == "filesystem.rules[0] ${HOME}/.ssh: none"
    assert "made:1" in decision.why


def test_full_access_says_that_there_is_no_sandbox(tmp_path: Path) -> None:
    decision = decide(resolved({"mode": "full-access"}), "/etc/shadow")
    assert (decision.access, decision.why) == (Access.WRITE, "there is no sandbox")


asked = st.builds(
    lambda base, names: base + "/" + "/".join(names),
    st.sampled_from(["", "~", "/home/me", "/home/me/work", "/tmp", "."]),
    st.lists(st.sampled_from(["a", "b", "home", "me", "work", ".git", "hooks", ".ssh", "x"]), max_size=5),
)
workspaces = st.sampled_from(
    [PurePath(p) for p in ("/home/me/work", "/home/me", "/a", "/a/b", "/tmp/b", "/", "/home/me/work/.git")]
)


@given(bodies(), none_rules, asked, workspaces)
def test_adding_a_none_rule_never_widens(
    body: dict[str, Any], rule: dict[str, Any], path: str, workspace: PurePath
) -> None:
    before = decide(resolved(body), path, workspace)
    files = body.get("filesystem", {})
    more = {**body, "filesystem": {**files, "rules": [*files.get("rules", []), rule]}}
    after = decide(resolved(more), path, workspace)
    assert STRENGTH[after.access] <= STRENGTH[before.access]
