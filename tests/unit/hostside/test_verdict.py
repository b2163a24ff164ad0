"""Which rule decided: each errno against the entries of a launch, and what the policy does not explain."""

import pytest

from fleetbox.hostside import verdict
from fleetbox.hostside.strace import Failure
from fleetbox.hostside.verdict import Outside

EXPLAINED = """\
policy    main  (sha256:0)
bwrap     /usr/bin/bwrap  (this machine's)
network   loopback only  (network.mode)
seccomp   /x/seccomp.bpf  (no AF_UNIX)
read      /  (filesystem.root)
private   /dev  (default)
write     /w  (workspace)
absent    /w/.git  (protected name)
read      /w/a (b)  (rule)
none      /w/a\\012none      /etc  (rule)
none      /home/u/.ssh  (rule)
write     /home/u/.ssh/open  (rule)
private   /tmp  (tmp)
skipped   /home/u/.aws: does not exist, nothing to do
"""
LAUNCH = verdict.parse(EXPLAINED)
THERE = Outside(exists=True, read=True, write=True, execute=True)
NOT_ALLOWED = Outside(exists=True, read=False, write=False, execute=False)
MISSING = Outside(exists=False, read=False, write=True, execute=False)


def rule(
    call: str, errno: str, *paths: str, outside: Outside = THERE, launch: verdict.Launch = LAUNCH
) -> str | None:
    found = verdict.judge(Failure(call, errno, paths), launch, dict.fromkeys(paths, outside))
    return found.rule if found else None


def test_a_line_of_explain_cannot_be_forged_by_a_path() -> None:
    assert [entry.path for entry in LAUNCH.entries if entry.rule == "rule"] == [
        "/w/a (b)",
        "/w/a\nnone      /etc",
        "/home/u/.ssh",
        "/home/u/.ssh/open",
    ]
    assert LAUNCH.deciding("/etc/x").rule == "filesystem.root"


@pytest.mark.parametrize(
    ("call", "errno", "path", "outside", "expected"),
    [
        ("openat", "EROFS", "/etc/x", THERE, "read / (filesystem.root)"),
        ("openat", "EACCES", "/home/u/.ssh/id", THERE, "none /home/u/.ssh (rule)"),
        ("stat", "ENOENT", "/home/u/.ssh/id", THERE, "none /home/u/.ssh (rule)"),
        ("stat", "ENOENT", "/home/u/.ssh/id", MISSING, None),
        ("openat", "EROFS", "/home/u/.ssh/open/x", THERE, None),
        ("openat", "ENOENT", "/tmp/outside", THERE, "private /tmp (tmp)"),
        ("openat", "ENOENT", "/usr/nope", MISSING, None),
        ("openat", "EACCES", "/etc/shadow", NOT_ALLOWED, None),
        ("openat", "EACCES", "/etc/mine", THERE, "read / (filesystem.root)"),
        ("mkdir", "EEXIST", "/w/.git", THERE, "absent /w/.git (protected name)"),
        ("mkdir", "EEXIST", "/w/x", THERE, None),
        ("rename", "EBUSY", "/w/.git", THERE, "absent /w/.git (protected name)"),
        ("rename", "EBUSY", "/home/u", THERE, "none /home/u/.ssh (rule)"),
        ("rename", "EXDEV", "/w/.git/x", THERE, "absent /w/.git (protected name)"),
        ("openat", "EINTR", "/etc/x", THERE, None),
    ],
)
def test_the_deciding_entry(call: str, errno: str, path: str, outside: Outside, expected: str | None) -> None:
    assert rule(call, errno, path, outside=outside) == expected


def test_of_two_paths_the_one_that_the_policy_explains_decides() -> None:
    assert rule("rename", "EROFS", "/w/x", "/etc/x") == "read / (filesystem.root)"
    assert rule("link", "EACCES", "/w/x", "/home/u/.ssh/x") == "none /home/u/.ssh (rule)"


def test_a_program_is_only_unlisted_where_there_is_a_list() -> None:
    assert rule("execve", "EACCES", "/usr/bin/id") is None
    listed = verdict.parse(EXPLAINED + "program   /usr/bin/true\n")
    assert rule("execve", "EACCES", "/usr/bin/id", launch=listed) == "process.allowed_binaries"
    assert rule("execve", "EACCES", "/usr/bin/id", launch=listed, outside=NOT_ALLOWED) is None
    assert rule("execve", "EACCES", "/home/u/.ssh/x", launch=listed) == "none /home/u/.ssh (rule)"


def test_what_no_rule_could_change_is_marked() -> None:
    found = verdict.judge(Failure("openat", "EROFS", ("/etc/x",)), LAUNCH, {"/etc/x": NOT_ALLOWED})
    assert found
    assert found.outside


def test_an_address_is_the_networks_concern_only_without_one() -> None:
    failure = Failure("connect", "ENETUNREACH", address="192.0.2.1:80")
    found = verdict.judge(failure, LAUNCH, {})
    assert found
    assert found.rule == "network.mode"
    hostnet = verdict.parse(EXPLAINED.replace("loopback only", "the host's"))
    assert verdict.judge(failure, hostnet, {}) is None


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x1c", "\x0b"])
def test_only_a_newline_ends_a_line_of_explain(end: str) -> None:
    name = f"/w/a{end}none      /usr  (forged){end}b.pem"
    assert [entry.path for entry in verdict.parse(f"none      {name}  (glob)\n").entries] == [name]


def test_escaped_bytes_are_read_back() -> None:
    [entry] = verdict.parse("none      /w/\\302\\233\\134\xff  (glob)\n").entries
    assert entry.path == "/w/\x9b\\\xff"
