"""Every mistake that a policy can contain is a violation at its place, with a hint; and all come at once."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetbox.policy import PolicyInvalid, Violation, load_policy, render_violations, schema
from tests.unit.policy.documents import HEAD, HEAD_LINES, load, policy_file, violations

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


def rule(path: str, access: str, **filesystem: str) -> str:
    more = "".join(f", {key}: {value}" for key, value in filesystem.items())
    return f'filesystem: {{rules: [{{path: "{path}", access: {access}}}]{more}}}'


def outbound(text: str) -> str:
    return f"network: {{mode: proxy, outbound: [{{{text}}}]}}"


def only(tmp_path: Path, body: str) -> Violation:
    found = violations(tmp_path, body + "\n")
    assert len(found) == 1, found
    assert found[0].hint
    assert found[0].line > HEAD_LINES
    return found[0]


@pytest.mark.parametrize(
    ("body", "field", "hint"),
    [
        ("filesytem: {}", "filesytem", "did you mean filesystem?"),
        ("rules: []", "rules", "filesystem.rules"),
        ("credentials: {}", "credentials", "known here"),
        ("<<: {a: b}", "<<", "extends"),
        ("devices: {gpu: {mod: auto}}", "devices.gpu.mod", "did you mean mode?"),
        (
            "filesystem: {rules: [{path: /a, acess: read}]}",
            "filesystem.rules[0].acess",
            "did you mean access?",
        ),
        (outbound("host: a.b, ports: [1], port: 2"), "network.outbound[0].port", "did you mean ports?"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_one_named(
    tmp_path: Path, body: str, field: str, hint: str
) -> None:
    found = only(tmp_path, body)
    assert (found.field, found.problem) == (field, "unknown key")
    assert hint in found.hint


@pytest.mark.parametrize(
    ("body", "field", "problem", "hint"),
    [
        ("filesystem: host", "filesystem", "not a mapping", "keys and values"),
        ("filesystem: {rules: ~/x}", "filesystem.rules", "not a list", "list"),
        ("extends: base", "extends", "not a list", "list"),
        ("filesystem:", "filesystem", "empty", "remove it"),
        ("process: {allowed_binaries: }", "process.allowed_binaries", "empty", "remove it"),
        ("process: {allowed_binaries: []}", "process.allowed_binaries", "an empty list", "one entry"),
        ("filesystem: {rules: [{path: /a}]}", "filesystem.rules[0].access", "missing", "add"),
        ("filesystem: {protect: [1]}", "filesystem.protect[0]", "not text", 'in quotes: "1"'),
        ("environment: {set: {A: 1}}", "environment.set.A", "not text", 'in quotes: "1"'),
        ("environment: {set: {A: true}}", "environment.set.A", "not text", 'in quotes: "true"'),
        ("process: {limits: {pids: '8'}}", "process.limits.pids", "not a whole number", "without quotes"),
        ("process: {limits: {pids: 0}}", "process.limits.pids", "out of range", "at least 1"),
        (
            "process: {allow_host_pids: off}",
            "process.allow_host_pids",
            "neither true nor false",
            "write false",
        ),
        ("mode: off", "mode", "not one of read-only", "write"),
        ("mode: readonly", "mode", "not one of", "did you mean read-only?"),
        ("landlock: best_effort", "landlock", "not one of", "did you mean best-effort?"),
        (
            "devices: {gpu: {vendors: [nvida]}}",
            "devices.gpu.vendors[0]",
            "not one of",
            "did you mean nvidia?",
        ),
    ],
)
def test_a_wrong_shape_or_word_is_refused(
    tmp_path: Path, body: str, field: str, problem: str, hint: str
) -> None:
    found = only(tmp_path, body)
    assert found.field == field
    assert found.problem.startswith(problem)
    assert hint in found.hint


@pytest.mark.parametrize(
    ("path", "access", "problem", "hint"),
    [
        ("src", "read", "a relative path", "$WORKSPACE/src"),
        ("/a/../b", "read", "a path with ..", "without"),
        ("", "read", "an empty path", "absolute"),
        ("~root/x", "read", "another user's home", "absolute"),
        ("$HOMES/x", "read", "not a known variable", "WORKSPACE"),
        ("/a/$X", "read", "a variable inside a path", "beginning"),
        ("/a\\nb", "read", "a path with an unprintable character", "remove"),
        ("/" + "a" * 256, "read", "too long a name in a path", "255"),
        ("/abc" * 1024, "read", "too long a path", "4095"),
        ("/", "write", "a rule over the whole file system", "filesystem.root"),
        ("//./", "none", "a rule over the whole file system", "filesystem.root"),
        ("~", "write", "a home directory writable", "allow_home: true"),
        ("$HOME/", "write", "a home directory writable", "allow_home: true"),
        ("/home/me", "write", "a home directory writable", "allow_home: true"),
        ("/home", "write", "a home directory writable", "allow_home: true"),
        ("/root", "write", "a home directory writable", "allow_home: true"),
        ("/etc/", "write", "a system directory writable", "needed"),
        ("/dev/nvidia0", "write", "a rule over device nodes", "devices.allow"),
        ("/proc/sys", "none", "a rule over /proc", "its own"),
        ("/**/*.key", "none", "a pattern without a fixed beginning", "$WORKSPACE"),
        ("**/*.key", "none", "a relative path", "$WORKSPACE/**/*.key"),
        ("~/a**", "none", "** beside other characters", "alone"),
        ("~/a/**", "none", "a pattern that ends in **", "everything below"),
        ("~/*.[ch]", "none", "a pattern with brackets", "each"),
        ("~/*" + "/*" * 40, "none", "too deep a pattern", "31"),
        ("~/*.pem", "write", "a pattern that gives access", "none"),
    ],
)
def test_a_rule_that_is_no_rule_is_refused(
    tmp_path: Path, path: str, access: str, problem: str, hint: str
) -> None:
    found = only(tmp_path, rule(path, access))
    assert found.field.startswith("filesystem.rules[0]")
    assert found.problem == problem
    assert hint in found.hint


def test_a_writable_home_can_be_said_to_be_meant(tmp_path: Path) -> None:
    body = "filesystem: {rules: [{path: ~, access: write, allow_home: true}]}\n"
    assert load(tmp_path, body).filesystem.rules[0].path == "${HOME}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/etc", "not a relative name"),
        ("../x", "a path with .."),
        ("'*.key'", "a pattern"),
        ("./", "an empty name"),
    ],
)
def test_a_protected_name_is_relative(tmp_path: Path, name: str, problem: str) -> None:
    found = only(tmp_path, f"filesystem: {{protect: [{name}]}}")
    assert (found.field, found.problem) == ("filesystem.protect[0]", problem)


@pytest.mark.parametrize(
    ("problem", "hosts"),
    [
        ("a wildcard over everything", ["*", "*.com"]),
        ("a wildcard inside a name", ["a.*.com", "a*.example.com", "*.*.com", "**.example.com"]),
        ("a URL", ["https://example.com"]),
        ("a host with a port", ["example.com:443", "10.0.0.1:80"]),
        ("a host with a path", ["example.com/x"]),
        ("a host with a trailing dot", ["example.com.", "*."]),
        ("a host name that is not ASCII", ["exämple.com"]),
        ("not a host name", ["-a.com", "a..com", "", "a b.com", "x" * 64 + ".com", "*.-.com", "a.com-"]),
        ("an address in brackets", ["[::1]"]),
        (
            "the host's own loopback",
            ["localhost", "x.localhost", "127.1.2.3", "0.0.0.0", "::1", "::ffff:127.0.0.1"],
        ),
        (
            "a metadata address",
            ["169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "2002:a9fe:a9fe::"],
        ),
        ("a metadata address", ["fd00:ec2::254", "fe80::1", "100.100.100.200", "168.63.129.16"]),
        ("a metadata address", ["METADATA.google.internal", "*.google.internal", "metadata.goog"]),
        (
            "not an address",
            ["2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376", "10.0.0.0x1", "1:::2"],
        ),
        ("not an address of one host", ["224.0.0.1", "ff02::1", "255.255.255.255"]),
    ],
)
def test_a_destination_that_reaches_too_much_is_refused(
    tmp_path: Path, problem: str, hosts: list[str]
) -> None:
    for host in hosts:
        found = only(tmp_path, outbound(f"host: '{host}', ports: [443]"))
        assert (found.field, found.problem) == ("network.outbound[0].host", problem), host


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("API.Example.com", "api.example.com"),
        ("*.example.com", "*.example.com"),
        ("10.0.0.1", "10.0.0.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("xn--exmple-cua.com", "xn--exmple-cua.com"),
        ("intranet", "intranet"),
        ("1password.com", "1password.com"),
    ],
)
def test_a_destination_has_one_spelling(tmp_path: Path, written: str, host: str) -> None:
    policy = load(tmp_path, outbound(f"host: '{written}', ports: [443]") + "\n")
    assert policy.network.outbound[0].host == host


@pytest.mark.parametrize(
    ("text", "field", "problem", "hint"),
    [
        ("ports: [0]", "ports[0]", "out of range", "at least 1"),
        ("ports: [65536]", "ports[0]", "out of range", "at most 65535"),
        ("ports: ['443']", "ports[0]", "not a whole number", "without quotes"),
        ("ports: [true]", "ports[0]", "not a whole number", "without quotes"),
        ("ports: []", "ports", "an empty list", "at least one"),
        ("ports: [1], methods: [get]", "methods[0]", "not one of", "GET"),
        ("ports: [1], paths: [x]", "paths[0]", "not a request path", "/"),
        ("ports: [1], paths: [/a/../b]", "paths[0]", "not a request path", "/"),
    ],
)
def test_what_a_destination_allows_is_checked(
    tmp_path: Path, text: str, field: str, problem: str, hint: str
) -> None:
    found = only(tmp_path, outbound(f"host: a.b, {text}"))
    assert found.field == f"network.outbound[0].{field}"
    assert found.problem.startswith(problem)
    assert hint in found.hint


@pytest.mark.parametrize(
    ("problem", "nodes"),
    [
        ("a pattern over device nodes", ["/dev/dri/*", "/dev/nvidia?"]),
        (
            "a directory of device nodes",
            ["/dev/nvidia-caps", "/dev/dri/", "/dev", "/dev/vfio", "/dev/bus/usb/001"],
        ),
        (
            "a node that gives the machine away",
            ["/dev/mem", "/dev/sda1", "/dev/nvme0n1", "/dev/tty1", "/dev/uinput"],
        ),
        ("a node that every sandbox has", ["/dev/null", "/dev/tty"]),
        ("not a path below /dev", ["/etc/passwd", "dev/kvm"]),
        ("a path with ..", ["/dev/../etc"]),
    ],
)
def test_device_nodes_are_named_one_by_one(tmp_path: Path, problem: str, nodes: list[str]) -> None:
    for node in nodes:
        found = only(tmp_path, f"devices: {{allow: ['{node}']}}")
        assert (found.field, found.problem) == ("devices.allow[0]", problem)


def test_a_node_that_is_never_pulled_in_can_be_named(tmp_path: Path) -> None:
    body = "devices: {allow: [/dev/kvm, /dev/dri/card0, /dev/nvidia-caps/nvidia-cap1]}\n"
    assert len(load(tmp_path, body).devices.allow) == 3


@pytest.mark.parametrize("select", ["GPU-1", "[all]", "[]", "[true]", "-1", "{a: b}", "1.5"])
def test_a_gpu_selection_is_one_of_its_kinds(tmp_path: Path, select: str) -> None:
    found = only(tmp_path, f"devices: {{gpu: {{select: {select}}}}}")
    assert (found.field, found.problem) == ("devices.gpu.select", "not a GPU selection")


@pytest.mark.parametrize(
    ("body", "field", "problem"),
    [
        ("environment: {pass: ['*']}", "environment.pass[0]", "the whole environment"),
        ("environment: {pass: ['A*B']}", "environment.pass[0]", "not a variable's name"),
        ("environment: {set: {A-B: x}}", "environment.set.A-B", "not a variable's name"),
        ('environment: {set: {A: "x\\0"}}', "environment.set.A", "not a variable's value"),
        ("process: {limits: {memory: 16GB}}", "process.limits.memory", "not an amount of memory"),
        ("process: {limits: {memory: 16}}", "process.limits.memory", "not text"),
        ("process: {limits: {wall: 4 hours}}", "process.limits.wall", "not a length of time"),
        ("process: {limits: {wall: 0s}}", "process.limits.wall", "not a length of time"),
        ("process: {limits: {wall: ''}}", "process.limits.wall", "not a length of time"),
        ("process: {allowed_binaries: [bin/sh]}", "process.allowed_binaries[0]", "a relative path"),
        ("process: {allowed_binaries: ['*']}", "process.allowed_binaries[0]", "a pattern"),
        ("extends: [../secrets]", "extends[0]", "neither a preset nor a policy file"),
        ("extends: [/etc/shadow]", "extends[0]", "neither a preset nor a policy file"),
    ],
)
def test_a_value_that_means_nothing_is_refused(tmp_path: Path, body: str, field: str, problem: str) -> None:
    found = only(tmp_path, body)
    assert (found.field, found.problem) == (field, problem)


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
