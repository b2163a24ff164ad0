"""What a launch says of itself: words, a command to paste, and names that can forge neither."""

import subprocess

import pytest

from tests.conftest import give_to
from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op

PROTECT: list[Op] = [("protect", ".git"), ("protect", ".codex")]


def test_explain_says_what_and_why_and_runs_nothing(bench: Bench) -> None:
    bench.make("home/ws/.git/x", "x")
    plan = bench.plan(*PROTECT, ("rule", "write", "${HOME}/not-there"))
    done = bench.run(plan, "touch", "made", options=["--explain"])
    assert f"write     {bench.workspace}  (workspace)" in done.stdout
    assert f"read      {bench.workspace}/.git  (protected name)" in done.stdout
    assert f"absent    {bench.workspace}/.codex  (protected name)" in done.stdout
    assert f"skipped   {bench.home}/not-there: does not exist" in done.stdout
    assert [path.name for path in bench.workspace.iterdir()] == [".git"]


def test_the_dry_run_line_can_be_pasted(bench: Bench) -> None:
    bench.make("home/ws/.git/x", "it's")
    script = "cat .git/x; echo a > .git/x; id -u; grep Seccomp: /proc/self/status; exit 3"
    line = bench.run(bench.plan(*PROTECT), "sh", "-c", script, options=["--dry-run"]).stdout
    assert line.count("\n") == 1
    pasted = bench.run_as(["dash", "-c", line], cwd=bench.workspace, stdin=subprocess.DEVNULL)
    assert pasted.returncode == 3
    assert pasted.stdout == f"it's{bench.uid}\nSeccomp:\t2\n"
    assert "Read-only" in pasted.stderr


def test_the_inner_stage_refuses_when_a_mount_is_not_what_it_should_be(bench: Bench) -> None:
    bench.make("home/ws/.git/x", "x")
    old_way = ["--mounts", "bwrap", "--dry-run"]
    line = bench.run(bench.plan(("protect", ".git")), "true", options=old_way).stdout
    git = f"{bench.workspace}/.git"
    broken = {
        line.replace(f"--ro-bind {git} {git}", ""): "nothing is mounted there",
        line.replace(f"--ro-bind {git} {git}", f"--bind {git} {git}"): "it is not read-only",
        line.replace(f"--ro-bind {git} {git}", f"--ro-bind /usr {git}"): "another file is mounted there",
    }
    assert len(broken) == 3
    for command, said in broken.items():
        done = bench.run_as(["dash", "-c", command], cwd=bench.workspace, stdin=subprocess.DEVNULL)
        assert done.returncode == 125
        assert f"{git} is not protected as it should be: {said}" in done.stderr


def test_paths_with_odd_characters_are_taken_literally(bench: Bench) -> None:
    odd = bench.make("home/we ird'\"$(x)\\;/.git/f", "x").parent.parent
    done = bench.sh(bench.plan(*PROTECT), "pwd; echo a > .git/f; echo b > g", cwd=odd)
    assert done.stdout == f"{odd}\n"
    assert (odd / "g").read_text() == "b\n"
    line = bench.run(bench.plan(*PROTECT), "pwd", options=["--dry-run"], cwd=odd).stdout
    assert bench.run_as(["dash", "-c", line], cwd=odd, stdin=subprocess.DEVNULL).stdout == f"{odd}\n"


@pytest.mark.parametrize("start", ["\x1b[", "\x9b"])
def test_an_escape_sequence_in_a_path_does_not_reach_the_terminal(bench: Bench, start: str) -> None:
    odd = bench.make(f"home/{start}31m")
    said = bench.run(bench.plan(), options=["--explain"], cwd=odd)
    assert (said.returncode, start in said.stdout) == (0, False)
    (odd / ".git").symlink_to("/tmp")
    give_to(odd / ".git", bench.uid)
    done = bench.run(bench.plan(*PROTECT), "true", cwd=odd)
    assert done.returncode == 125
    assert start not in done.stderr
