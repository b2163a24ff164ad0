"""Whoever mounts what restricts, the inner stage or bwrap: the sandbox is the same.

Each scenario is launched both ways; a probe inside says of every path what can be done with it.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op

PROBE = r"""
import json, os, stat, sys
def attempt(act):
    try:
        act()
        return "yes"
    except OSError as error:
        return error.strerror
def seen(path):
    try:
        st = os.lstat(path)
    except OSError as error:
        return error.strerror
    if stat.S_ISLNK(st.st_mode):
        return ["link", os.readlink(path)]
    flags = os.statvfs(path).f_flag & (os.ST_RDONLY | os.ST_NOSUID | 4)
    other = path + "~"
    found = [oct(st.st_mode), flags, attempt(lambda: os.rename(path, other) or os.rename(other, path))]
    if stat.S_ISDIR(st.st_mode):
        new = os.path.join(path, os.urandom(9).hex())  # /tmp may be everybody's
        found += [attempt(lambda: os.listdir(path)), attempt(lambda: os.mkdir(new) or os.rmdir(new))]
    else:
        found += [attempt(lambda: open(path, "rb").read(9)), attempt(lambda: open(path, "ab"))]
    return found
def walk(path):
    yield path
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return
    for name in names:
        yield from walk(os.path.join(path, name))
paths = sorted({*walk(sys.argv[1]), *sys.argv[2:]})
print(json.dumps({"cwd": os.getcwd(), "masks": os.umask(0), **{path: seen(path) for path in paths}}))
"""

FILES = ("ws/.git/config", "ws/a/b/c/d/e", "ws/a/b/file", "ws/f", "ws/.env", "keep/in/deep/file", "other/x/y")
WS = "${WORKSPACE}"
SCENARIOS: dict[str, tuple[list[Op], dict[str, str]]] = {
    "nothing": ([], {}),
    "protected": ([("protect", ".git"), ("protect", ".codex"), ("protect", "a/b")], {}),
    "parts": ([("protect-part", ".git", "config"), ("protect-part", ".git", "hooks")], {}),
    "denied": ([("rule", "none", f"{WS}/a"), ("rule", "none", f"{WS}/f")], {}),
    "missing": ([("rule", "none", f"{WS}/none/at/all"), ("rule", "read", f"{WS}/a/nothing")], {}),
    "write none write": ([("rule", "none", f"{WS}/a"), ("rule", "write", f"{WS}/a/b/c")], {}),
    "write none read": ([("rule", "none", f"{WS}/a"), ("rule", "read", f"{WS}/a/b/file")], {}),
    "to any depth": (
        [
            ("rule", "read", f"{WS}/a"),
            ("rule", "none", f"{WS}/a/b"),
            ("rule", "write", f"{WS}/a/b/c"),
            ("rule", "read", f"{WS}/a/b/c/d"),
            ("rule", "none", f"{WS}/a/b/c/d/e"),
        ],
        {},
    ),
    "write read write": ([("rule", "read", f"{WS}/a"), ("rule", "write", f"{WS}/a/b")], {}),
    "outside": ([("rule", "none", "${HOME}/keep"), ("rule", "write", "${HOME}/keep/in/deep")], {}),
    "outside file": ([("rule", "none", "${HOME}/keep"), ("rule", "write", "${HOME}/keep/in/deep/file")], {}),
    "kept": ([("mask", "/run"), ("rule", "none", "${HOME}/other"), ("keep", "${HOME}/other/x/y")], {}),
    "glob": ([("glob", WS, "**/.env"), ("glob", WS, "**/file")], {}),
    "read-only": ([("rule", "none", f"{WS}/a")], {"mode": "read-only", "workspace": "read"}),
    "host tmp": ([("rule", "none", f"{WS}/a/b")], {"tmp": "host"}),
    "tmp below a mask": ([("rule", "none", "/var"), ("rule", "read", "/var/tmp/x")], {}),
    "root in root": ([("rule", "write", f"{WS}/a"), ("protect", ".git"), ("rule", "none", f"{WS}/a/b")], {}),
    "file root": ([("rule", "write", "${HOME}/other/x/y"), ("rule", "none", "${HOME}/keep")], {}),
    "minimal": (
        [("protect", ".git"), ("rule", "none", f"{WS}/a"), ("rule", "write", f"{WS}/a/b")],
        {"root": "minimal"},
    ),
}
# Looked at, but not walked.
ALONE = (
    "/",
    "/tmp",
    "/var",
    "/var/tmp",
    "/dev",
    "/dev/shm",
    "/dev/null",
    "/dev/pts",
    "/run",
    "/proc",
    "/etc/passwd",
)
VISIBLE: list[Op] = [
    ("minimal", path) for path in ("/usr", "/bin", "/lib", "/lib64", "/sbin", "/etc/ld.so.cache")
]


def look(
    bench: Bench, who: str, ops: Sequence[Op], head: dict[str, str], places: Sequence[str]
) -> dict[str, object]:
    options = ["--mounts", who]
    plan = bench.plan(*ops, *VISIBLE, **head)
    done = bench.run(plan, "/usr/bin/python3", "-c", PROBE, *places, options=options)
    assert done.returncode == 0, done.stderr
    seen: dict[str, object] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_both_ways_make_the_same_sandbox(bench: Bench, scenario: str) -> None:
    for name in FILES:
        bench.make(f"home/{name}", "text")
    (bench.home / "keep/link").symlink_to("in/deep/file")
    ops, head = SCENARIOS[scenario]
    places = [
        str(bench.home),
        "/tmp",
        "/var/tmp",
        "/var",
        "/dev/shm",
        "/dev/null",
        "/dev",
        "/run",
        "/etc/passwd",
    ]
    inner, outer = (look(bench, who, ops, head, places) for who in ("inner", "bwrap"))
    assert len(inner) > len(places)
    differing = {path for path in inner.keys() | outer.keys() if inner.get(path) != outer.get(path)}
    assert {path: (inner.get(path), outer.get(path)) for path in differing} == {}


def test_the_probe_sees_a_difference(bench: Bench) -> None:
    bench.make("home/ws/a/b", "text")
    denied: list[Op] = [("rule", "none", "${WORKSPACE}/a")]
    read: list[Op] = [("rule", "read", "${WORKSPACE}/a")]
    place = [str(bench.workspace)]
    assert look(bench, "inner", denied, {}, place) != look(bench, "bwrap", read, {}, place)
    assert look(bench, "inner", read, {}, place) != look(bench, "bwrap", [], {}, place)


@pytest.mark.parametrize("mounts", [("--mounts", "inner"), ("--mounts", "bwrap")], ids=" ".join)
def test_names_of_any_bytes_are_guarded(bench: Bench, mounts: Sequence[str]) -> None:
    for odd in (b"new\nline", b"\xff\xfe", b"semi;colon \\ 040", b"tab\there"):
        workspace = Path(os.fsdecode(os.fsencode(bench.workspace) + b"/" + odd))
        bench.make(str((workspace / ".git/config").relative_to(bench.root)), "mine")
        bench.make(str((workspace / "deny/secret").relative_to(bench.root)), "secret")
        plan = bench.plan(("protect", ".git"), ("protect", ".codex"), ("rule", "none", "${WORKSPACE}/deny"))
        script = "cat deny/secret; echo x > .git/config; mkdir .codex/x; echo fine > f; cat f"
        done = bench.sh(plan, script, cwd=workspace)
        assert done.stdout == "fine\n", done.stderr
        assert done.stderr.count("Read-only") == 2
        assert (workspace / ".git/config").read_text() == "mine"


@pytest.mark.parametrize("mounts", [("--mounts", "inner"), ("--mounts", "bwrap")], ids=" ".join)
def test_the_mounts_of_a_read_only_directory_are_read_only_too(bench: Bench, mounts: Sequence[str]) -> None:
    for name in ("ws/a/sub", "ws/a/deny/sub", "ws/b/sub"):
        bench.make(f"home/{name}")
    places = [f"{bench.workspace}/{name}/sub" for name in ("a", "a/deny", "b")]
    prepare = "\n".join(f"mount -t tmpfs -o mode=1777 tried {place}; echo x > {place}/f" for place in places)
    plan = bench.plan(("rule", "read", "${WORKSPACE}/a"), ("rule", "none", "${WORKSPACE}/a/deny"))
    script = "touch b/sub/new; echo x > a/sub/new; cat a/sub/f; cat a/deny/sub/f; ls b/sub"
    done = bench.sh_after(prepare, plan, script)
    assert done.stdout == "x\nf\nnew\n", done.stderr
    assert done.stderr.count("Read-only") == 1
    assert done.stderr.count("Permission denied") == 1
