"""Every mistake that a policy can contain is a violation at its place, with a hint; and all come at once."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetbox.policy import PolicyInvalid, load_policy, render_violations, schema
from tests.unit.policy.documents import HEAD, HEAD_LINES, load, only, policy_file, rule, violations

EIGHT = """\
mode: workspace-rite
filesystem:
  rooot: host
  rules:
    - {path: data/models, access: read}
    - {path: "$WORKSPACE/**/*.env", access: read}
network:
  mode: proxy
  outbound:
    - {host: "*.com", ports: [443]}
    - {host: api.example.com, ports: [443, 70000]}
process:
  nested_sandboxes: yes
devices:
  allow: [/dev/dri]
"""


def test_eight_mistakes_are_eight_violations_with_place_caret_and_hint(tmp_path: Path) -> None:
    found = violations(tmp_path, EIGHT)
    places = [(v.line - HEAD_LINES, v.column, v.field, v.value) for v in found]
    assert places == [
        (1, 7, "mode", "workspace-rite"),
        (3, 3, "filesystem.rooot", "rooot"),
        (5, 14, "filesystem.rules[0].path", "data/models"),
        (6, 45, "filesystem.rules[1].access", "read"),
        (10, 14, "network.outbound[0].host", "*.com"),
        (11, 44, "network.outbound[1].ports[1]", "70000"),
        (13, 21, "process.nested_sandboxes", "yes"),
        (15, 11, "devices.allow[0]", "/dev/dri"),
    ]
    assert all(v.hint for v in found)
    text = render_violations(found)
    assert text.count("hint: ") == 8
    lines = text.splitlines()
    for line, marked in zip(lines[1::4], lines[2::4], strict=True):
        start = marked.index("^")
        assert line[start : start + marked.count("^")].strip('"') in [v.value for v in found]


@pytest.mark.parametrize(
    ("body", "field", "problem", "hint"),
    [
        ("gpu_passthrough: true\ndevices: {gpu: {mode: none}}", "gpu_passthrough", "said twice", "keep"),
        ("mode: full-access\nnetwork: {mode: host}", "network", "full-access beside", "workspace-write"),
        ("mode: read-only\n" + rule("/a", "write"), "filesystem.rules", "writable in a read-only", "read"),
        (
            "mode: read-only\nfilesystem: {workspace: write}",
            "filesystem.workspace",
            "writable in",
            "remove it",
        ),
        ("mode: read-only\nfilesystem: {tmp: host}", "filesystem.tmp", "writable in a read-only", "remove"),
        (
            "network: {mode: host, outbound: [{host: a.b, ports: [1]}]}",
            "network.outbound",
            "a destination",
            "proxy",
        ),
        ("network: {outbound: [{host: a.b, ports: [1]}]}", "network.outbound", "a destination", "proxy"),
        (
            rule("$WORKSPACE/.git/x", "write"),
            "filesystem.rules",
            "writable below the protected .git",
            "unprotect",
        ),
        (
            rule("$WORKSPACE/.git/hooks/x", "write", unprotect="[.git]"),
            "filesystem.rules",
            "writable below the protected .git/hooks",
            "stays read-only",
        ),
        (
            "filesystem: {rules: [{path: /a, access: write}, {path: /a/.codex/x/y, access: write}]}",
            "filesystem.rules",
            "writable below the protected .codex",
            "unprotect",
        ),
        ("filesystem: {unprotect: [.gti]}", "filesystem.unprotect", "not a protected name", ".git"),
        (
            "devices: {gpu: {select: vendor.com/gpu=0}}",
            "devices.gpu.select",
            "a CDI device",
            "add cdi to devices.gpu.vendors",
        ),
        (rule("/var/tmp", "write"), "filesystem.rules", "writable where a private /tmp is", "tmp: host"),
        (rule("/tmp", "write"), "filesystem.rules", "writable where a private /tmp is", "tmp: host"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(
    tmp_path: Path, body: str, field: str, problem: str, hint: str
) -> None:
    found = only(tmp_path, body)
    assert found.field == field
    assert found.problem.startswith(problem)
    assert hint in found.hint


def test_what_an_agent_needs_of_its_own_folder_can_be_granted(tmp_path: Path) -> None:
    policy = load(tmp_path, rule("~/.codex/sessions", "write") + "\n")
    assert policy.filesystem.rules[0].path == "${HOME}/.codex/sessions"


@pytest.mark.parametrize(
    ("replaced", "field", "problem"),
    [
        (("apiVersion: fleetbox/v1\n", ""), "apiVersion", "missing"),
        (("fleetbox/v1", "fleetbox/v2"), "apiVersion", "not one of fleetbox/v1"),
        (("SandboxPolicy", "Policy"), "kind", "not one of SandboxPolicy"),
        (("metadata: {name: test}\n", ""), "metadata", "missing"),
        (("{name: test}", "{}"), "metadata.name", "missing"),
        (("test", "A/b"), "metadata.name", "not a policy name"),
        (("test", ".."), "metadata.name", "not a policy name"),
        (("test", "-a"), "metadata.name", "not a policy name"),
        (("test", "a" * 64), "metadata.name", "not a policy name"),
        (("test", "1"), "metadata.name", "not text"),
        (("test", 'a, description: "x\\ny"'), "metadata.description", "not one line of text"),
    ],
)
def test_the_head_is_needed_and_checked(
    tmp_path: Path, replaced: tuple[str, str], field: str, problem: str
) -> None:
    found = violations(tmp_path, "", head=HEAD.replace(*replaced))
    assert [v.field for v in found] == [field]
    assert problem in found[0].problem


def test_a_wrong_head_does_not_hide_what_follows(tmp_path: Path) -> None:
    found = violations(
        tmp_path, "mode: of\nnetwork: {outbound: [{host: a.b, ports: [1]}]}\n", head="kind: X\n"
    )
    assert {v.field for v in found} == {"apiVersion", "kind", "metadata", "mode", "network.outbound"}


def test_contradictions_are_found_beside_other_mistakes(tmp_path: Path) -> None:
    body = """\
filesystem:
  tmp: hsot
  rules:
    - {path: relative, access: read}
    - {path: "$WORKSPACE/.git/x", access: write}
    - {path: /, access: write}
"""
    fields = [(v.line - HEAD_LINES, v.field) for v in violations(tmp_path, body)]
    assert fields == [
        (2, "filesystem.tmp"),
        (4, "filesystem.rules[0].path"),
        (5, "filesystem.rules"),
        (6, "filesystem.rules[2].path"),
    ]


def test_entries_are_counted_as_written_although_wrong_ones_were_left_out(tmp_path: Path) -> None:
    body = "filesystem: {rules: [{path: a, access: read}, {path: ~/*.x, access: read, why: x}]}\n"
    fields = {v.field for v in violations(tmp_path, body)}
    assert fields == {
        "filesystem.rules[0].path",
        "filesystem.rules[1].why",
        "filesystem.rules[1].access",
    }


def test_a_field_that_is_wrong_contradicts_nothing(tmp_path: Path) -> None:
    body = "network: {mode: prxy, outbound: [{host: a.b, ports: [1]}]}\n"
    assert [v.field for v in violations(tmp_path, body)] == ["network.mode"]


def test_more_than_a_thousand_rules_are_one_violation(tmp_path: Path) -> None:
    rules = "".join(f"    - {{path: /d/{i}, access: read}}\n" for i in range(1001))
    found = violations(tmp_path, f"filesystem:\n  rules:\n{rules}")
    assert [(v.field, v.problem) for v in found] == [("filesystem.rules", "more than 1000 entries")]


KNOWN = schema.json_schema()
SECTIONS = [KNOWN, *KNOWN["$defs"].values()]
keys = st.sampled_from(sorted({key for section in SECTIONS for key in section.get("properties", {})} | {"x"}))
texts = st.sampled_from(
    [
        "~",
        "/a",
        "$WORKSPACE/*",
        "none",
        "write",
        "*",
        "a.b",
        "1::",
        "16GiB",
        "",
        "/dev/x",
        ".git",
        "base",
        "\0",
        "é/",
    ]
)
scalars = st.none() | st.booleans() | st.integers(-1, 70_000) | texts
data = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=15,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(keys, data, max_size=5))
def test_any_data_is_a_policy_or_violations_with_hints(tmp_path: Path, document: dict[str, Any]) -> None:
    path = policy_file(tmp_path, json.dumps(document), head="")
    with pytest.raises(PolicyInvalid) as caught:  # the head is missing, whatever else is right
        load_policy(path)
    for violation in caught.value.violations:
        assert violation.hint, violation
        assert violation.line == 1
    assert render_violations(caught.value.violations)


def test_nothing_of_the_file_reaches_the_terminal_raw(tmp_path: Path) -> None:
    body = 'mode: "\\e]0;owned\\a\u202e\u0085"\n"\\e[2J": 1\n'
    text = render_violations(violations(tmp_path, body))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "\\x1b" in text


def test_the_caret_stands_below_the_value_after_wide_and_escaped_characters(tmp_path: Path) -> None:
    body = "environment: {set: {A: '日本', B: 1}}\n"
    source, caret = render_violations(violations(tmp_path, body)).splitlines()[1:3]
    wide = sum(c in "日本" for c in source)
    assert caret.index("^") == source.index("1}}") + wide


def test_a_long_line_is_cut_around_the_value(tmp_path: Path) -> None:
    body = f"filesystem: {{protect: [{', '.join(f'name{i}' for i in range(60))}, /x]}}\n"
    source, caret = render_violations(violations(tmp_path, body)).splitlines()[1:3]
    assert len(source) < 120
    assert source[caret.index("^") : caret.index("^") + 2] == "/x"
