"""Limits that are too small end a launch with a line; the workload ignores what its caller ignored."""

import signal
import subprocess

import pytest

from tests.faults.leftovers import tree
from tests.integration.launcher.conftest import Bench

pytestmark = pytest.mark.usefixtures("needs_sandbox")
RECORD_HEAD = 20 + 1 + 128 + 1  # launcher/record.c: the set, the policy


def limited(bench: Bench, limit: str, command: list[str]) -> "subprocess.CompletedProcess[str]":
    return bench.run_as(["prlimit", limit, "--", *command], cwd=bench.workspace, stdin=subprocess.DEVNULL)


def ignored(status: str) -> set[int]:
    mask = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_where_no_file_may_grow_that_is_said_and_nothing_is_left(bench: Bench) -> None:
    bench.make("home/ws/kept", "as it was")
    before = tree(bench.workspace)
    command = bench.command(bench.plan(("protect", ".git")), "echo", "ran")
    done = limited(bench, "--fsize=0", command)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.splitlines() == [
        "fleetbox-run: cannot write a record of mountpoints: File too large",
        "  hint: raise ulimit -f",
    ]
    assert tree(bench.workspace) == before
    assert bench.run(bench.plan(("protect", ".git")), "echo", "ran").stdout == "ran\n"


def test_a_record_that_is_cut_off_names_nothing(bench: Bench) -> None:
    """Its last name would be another one, and an empty directory of that name somebody's own."""
    mine = bench.make("home/ws/short")
    plan = bench.plan(("protect", "shorter"))
    done = limited(bench, f"--fsize={RECORD_HEAD + len('made short')}", bench.command(plan, "echo", "ran"))
    assert done.returncode == 125
    assert "cannot write a record of mountpoints: File too large" in done.stderr
    assert bench.run(plan, "ls").stdout.split() == ["short", "shorter"]
    assert list(bench.workspace.iterdir()) == [mine]


@pytest.mark.parametrize("kib", [640, 1024, 1536, 2048, 3072, 4096, 8192, 16384])
@pytest.mark.parametrize("limit", ["data", "as"])
def test_too_little_memory_is_said(bench: Bench, limit: str, kib: int) -> None:
    """Below that the kernel cannot even load the launcher."""
    command = bench.command(bench.plan(("protect", ".git")), "echo", "ran")
    done = limited(bench, f"--{limit}={kib * 1024}", command)
    assert (done.returncode, done.stdout) in ((125, ""), (0, "ran\n"))
    assert done.returncode == 0 or "fleetbox-run: " in done.stderr
    assert not (bench.workspace / ".git").exists()


def test_only_memory_that_is_used_counts(bench: Bench) -> None:
    command = bench.command(bench.plan(("protect", ".git")), "echo", "ran")
    assert limited(bench, f"--data={8 << 20}", command).stdout == "ran\n"


@pytest.mark.parametrize("mode", ["workspace-write", "full-access"])
@pytest.mark.parametrize("word", ["", "-"])
def test_the_workload_ignores_what_its_caller_ignored(bench: Bench, mode: str, word: str) -> None:
    command = bench.command(bench.plan(mode=mode), "cat", "/proc/self/status")
    trap = "trap '' XFSZ; " if word else ""
    outside = bench.run_as(["sh", "-c", f'{trap}exec "$@"', "sh", "cat", "/proc/self/status"])
    inside = bench.run_as(["sh", "-c", f'{trap}exec "$@"', "sh", *command], cwd=bench.workspace)
    assert (signal.SIGXFSZ in ignored(outside.stdout)) is bool(word)
    assert ignored(inside.stdout) == ignored(outside.stdout), inside.stderr
