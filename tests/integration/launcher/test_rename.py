"""The way to a guarded path cannot be moved aside, or the next launch would guard another one."""

import subprocess
from pathlib import Path

import pytest

from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op

PARTS: list[Op] = [("protect-part", ".git", part) for part in ("config", "hooks", "modules", "worktrees")]
MOVE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
parent, name = os.path.split(sys.argv[1])
os.chdir(parent or ".")
os.makedirs("decoy/x")
for flags, target in ((0, "gone"), (2, "decoy")):  # 2: RENAME_EXCHANGE
    done = libc.renameat2(-100, name.encode(), -100, target.encode(), flags)
    print(done, os.strerror(ctypes.get_errno()) if done else "moved")
"""


def move(bench: Bench, plan_ops: list[Op], path: str) -> "subprocess.CompletedProcess[str]":
    return bench.run(bench.plan(*plan_ops), "/usr/bin/python3", "-c", MOVE, path)


REFUSED = "-1 Device or resource busy\n" * 2


def test_an_unprotected_git_directory_works_and_cannot_be_replaced(bench: Bench) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    assert bench.run_as(["git", "init", "-q", "."], cwd=bench.workspace).returncode == 0
    commit = bench.run(bench.plan(*PARTS), *git, "commit", "-q", "--allow-empty", "-m", "inside")
    assert (commit.returncode, commit.stderr) == (0, "")
    assert move(bench, PARTS, ".git").stdout == REFUSED
    script = "mv .git x; rm -rf .git; mkdir .git; echo evil > .git/config; echo evil > .git/hooks/pre-commit"
    bench.sh(bench.plan(*PARTS), script)
    assert "evil" not in (bench.workspace / ".git/config").read_text()
    assert not (bench.workspace / ".git/hooks/pre-commit").exists()


@pytest.mark.parametrize(
    "op",
    [
        ("protect", ".vscode/settings.json"),
        ("protect", ".vscode/missing.json"),
        ("rule", "none", "${WORKSPACE}/.vscode/settings.json"),
        ("rule", "read", "${WORKSPACE}/.vscode/settings.json"),
        ("rule", "none", "${WORKSPACE}/.vscode/missing/deeper"),
        ("glob", "${WORKSPACE}", ".vscode/*.json"),
        ("glob", "${WORKSPACE}/.vscode", "**/*.json"),
    ],
    ids=" ".join,
)
def test_a_directory_that_leads_to_a_guarded_path_cannot_be_renamed(bench: Bench, op: Op) -> None:
    bench.make("home/ws/.vscode/settings.json", "{}")
    done = move(bench, [op], ".vscode")
    assert done.stdout == REFUSED, done.stderr
    assert sorted(path.name for path in (bench.workspace / ".vscode").iterdir()) == ["settings.json"]


def test_every_directory_on_the_way_is_kept_in_place_and_stays_writable(bench: Bench) -> None:
    bench.make("home/ws/a/b/c/secret", "secret")
    plan: list[Op] = [("rule", "none", "${WORKSPACE}/a/b/c/secret")]
    for path in ("a", "a/b", "a/b/c"):
        assert move(bench, plan, path).stdout == REFUSED
    done = bench.sh(bench.plan(*plan), "for d in a a/b a/b/c; do echo x > $d/new; done; cat a/b/c/secret")
    assert "Permission denied" in done.stderr
    assert (bench.workspace / "a/b/c/new").read_text() == "x\n"


def test_what_leads_to_no_guarded_path_can_be_renamed(bench: Bench) -> None:
    bench.make("home/ws/a/.env", "x")
    done = bench.sh(bench.plan(("glob", "${WORKSPACE}", "**/.env")), "mv a b && cat b/.env")
    assert (bench.workspace / "b").is_dir()
    assert "Permission denied" in done.stderr, "the next launch finds such a match wherever it is"
    assert (
        "Permission denied" in bench.sh(bench.plan(("glob", "${WORKSPACE}", "**/.env")), "cat b/.env").stderr
    )


def test_keeping_a_directory_in_place_never_opens_it(bench: Bench) -> None:
    bench.make("home/ws/ro/in/secret", "secret")
    bench.make("home/ws/.git/in/secret", "secret")
    bench.make("home/ws/no/in/seen", "x")
    bench.make("home/ws/no/in/hidden", "secret")
    bench.make("home/ws/no/open/in/secret", "secret")
    ws = "${WORKSPACE}"
    plan = bench.plan(
        ("rule", "read", f"{ws}/ro"),
        ("rule", "none", f"{ws}/ro/in/secret"),
        ("protect", ".git"),
        ("rule", "none", f"{ws}/.git/in/secret"),
        ("rule", "none", f"{ws}/no"),
        ("rule", "read", f"{ws}/no/in/seen"),
        ("rule", "write", f"{ws}/no/open"),
        ("rule", "none", f"{ws}/no/open/in/secret"),
    )
    script = "touch ro/in/x .git/in/x no/in/x; ls no/in; cat ro/in/secret; mv no/open/in no/open/out"
    done = bench.sh(plan, script)
    assert done.stdout == "seen\n"
    assert done.stderr.count("Read-only") == 3, done.stderr
    assert done.stderr.count("Permission denied") == 1, done.stderr
    assert "busy" in done.stderr
    assert not (bench.workspace / "ro/in/x").exists()


def test_a_writable_rule_on_the_way_is_kept_in_place_as_well(bench: Bench) -> None:
    bench.make("home/ws/cache/a/.git/config", "x")
    ops: list[Op] = [("protect", ".git"), ("rule", "write", "${WORKSPACE}/cache/a")]
    assert move(bench, ops, "cache").stdout == REFUSED
    assert move(bench, ops, "cache/a").stdout == REFUSED


def test_the_inner_stage_refuses_another_directory_in_the_place_of_a_pinned_one(bench: Bench) -> None:
    bench.make("home/ws/a/secret", "x")
    victim = bench.make("home/victim/secret", "x").parent
    plan = bench.plan(("rule", "none", "${WORKSPACE}/a/secret"))
    line = bench.run(plan, "touch", "a/written", options=["--mounts", "bwrap", "--dry-run"]).stdout
    pin = f"--bind {bench.workspace}/a {bench.workspace}/a"
    assert line.count(pin) == 1
    broken = {
        line.replace(pin, f"--bind {victim} {bench.workspace}/a"): "another file is mounted there",
        line.replace(pin, ""): "nothing is mounted there",
    }
    for command, said in broken.items():
        done = bench.run_as(["dash", "-c", command], cwd=bench.workspace, stdin=subprocess.DEVNULL)
        assert done.returncode == 125
        assert f"{bench.workspace}/a is not protected as it should be: {said}" in done.stderr
    assert [path.name for path in Path(victim).iterdir()] == ["secret"]
