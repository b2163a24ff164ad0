"""A launch plan is obeyed exactly, or refused: format, owner, mode, place."""

import os
from pathlib import Path

import pytest

from tests.integration.launcher.conftest import Bench
from tests.support.plans import Plan, envelope, write


def refused(bench: Bench, plan: bytes) -> str:
    done = bench.run(write(bench.root / "plan", bench.uid, plan), "true")
    assert done.returncode == 125, done
    lines = done.stderr.splitlines()
    assert lines[0].startswith("fleetbox-run: ")
    assert lines[1].startswith("  hint: ")
    return lines[0]


def test_a_valid_plan_runs(bench: Bench) -> None:
    assert bench.run(bench.plan(), "true").returncode == 0


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_plan_is_refused(bench: Bench, part: float) -> None:
    whole = bench.plan().encode()
    assert "plan" in refused(bench, whole[: int(len(whole) * part)])


def test_every_corrupted_byte_is_refused_or_changes_nothing_silently(bench: Bench) -> None:
    whole = bytearray(bench.plan().encode())
    for at in range(0, len(whole), 29):
        broken = bytearray(whole)
        broken[at] ^= 0x15
        assert "plan" in refused(bench, bytes(broken)), at


def test_trailing_bytes_are_refused(bench: Bench) -> None:
    assert "trailing" in refused(bench, bench.plan().encode() + b"x")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"end\0", b"end\0rule\0read\0/x\0", "goes on after its end"),
        (b"end\0", b"explode\0end\0", "unknown or misplaced operation: explode"),
        (b"end\0", b"", "truncated"),
        (b"network\0none\0", b"network\0none\0network\0host\0", 'lacks "nested"'),
        (b"network\0none\0", b"", 'lacks "network"'),
        (b"mode\0workspace-write\0", b"mode\0read-write\0", 'unknown value for "mode"'),
        (b"policy\0test\0", b"policy\0../x\0", "does not name its policy"),
        (b"\0sha256:0", b"\0sha256:g", "does not name its policy"),
        (b"end\0", b"rule\0exec\0/x\0end\0", 'bad value in "rule"'),
        (b"end\0", b"rule\0read\0relative\0end\0", 'bad value in "rule"'),
        (b"end\0", b"rule\0read\0/a/../b\0end\0", 'bad value in "rule"'),
        (b"end\0", b"rule\0read\0/a//b\0end\0", 'bad value in "rule"'),
        (b"end\0", b"rule\0read\0${HOME}x\0end\0", 'bad value in "rule"'),
        (b"end\0", b"rule\0read\0/a\nb\0end\0", 'bad value in "rule"'),
        (b"end\0", b"protect\0/etc\0end\0", 'bad value in "protect"'),
        (b"end\0", b"env-set\0A=B\0c\0end\0", 'bad value in "env-set"'),
        (b"end\0", b"env-pass\0*\0end\0", 'bad value in "env-pass"'),
        (b"end\0", b"seccomp\0x86_64\0unix\0../f\0end\0", 'bad value in "seccomp"'),
        (b"end\0", b"rule\0read\0/" + b"a/" * 2100 + b"a\0end\0", 'bad value in "rule"'),
        (b"end\0", b"device\0/dev/null\0" * 4001 + b"end\0", "more than 4000 records"),
    ],
)
def test_what_is_not_the_format_is_refused(bench: Bench, old: bytes, new: bytes, said: str) -> None:
    payload = bench.plan().payload()
    assert old in payload
    assert said in refused(bench, envelope(payload.replace(old, new)))


def test_another_format_is_refused(bench: Bench) -> None:
    plan = bench.plan().encode().replace(b"plan\x001\0", b"plan\x002\0", 1)
    assert "is of format 2, not 1" in refused(bench, plan)


def test_a_plan_that_is_too_large_is_refused(bench: Bench) -> None:
    padding = [("env-set", "A", "x" * 30_000)] * 10
    assert "larger than" in refused(bench, Plan(bench.ops(*padding)).encode())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
@pytest.mark.parametrize("name", ["launch.plan", "seccomp-nounix.bpf", "."])
def test_what_belongs_to_somebody_else_is_refused(bench: Bench, name: str) -> None:
    plan = bench.plan().write(bench.root / "plan", bench.uid)
    os.chown(plan.parent / name, 4711, bench.uid)
    (plan.parent / name).chmod(0o750)  # still readable through the group
    done = bench.run(plan, "true")
    assert done.returncode == 125
    assert "belongs to uid 4711" in done.stderr


@pytest.mark.parametrize(
    ("name", "mode"), [("launch.plan", 0o620), ("seccomp-nounix.bpf", 0o602), (".", 0o750)]
)
def test_what_others_can_reach_is_refused(bench: Bench, name: str, mode: int) -> None:
    plan = bench.plan().write(bench.root / "plan", bench.uid)
    (plan.parent / name).chmod(mode)
    done = bench.run(plan, "true")
    assert done.returncode == 125
    assert "others" in done.stderr


@pytest.mark.parametrize("name", ["launch.plan", "seccomp-nounix.bpf"])
def test_a_symlink_instead_of_a_file_is_refused(bench: Bench, name: str) -> None:
    plan = bench.plan().write(bench.root / "plan", bench.uid)
    (plan.parent / name).rename(bench.root / "elsewhere")
    (plan.parent / name).symlink_to(bench.root / "elsewhere")
    done = bench.run(plan, "true")
    assert done.returncode == 125
    assert "must not be a symlink" in done.stderr


def test_a_plan_below_a_writable_root_is_refused(bench: Bench) -> None:
    done = bench.run(bench.plan().write(bench.workspace / "plan", bench.uid), "true")
    assert done.returncode == 125
    assert "which the workload may write" in done.stderr or "lies in" in done.stderr


def test_the_plan_is_hidden_from_the_workload(bench: Bench) -> None:
    done = bench.sh(bench.plan(), f"cat {bench.root}/plan/launch.plan")
    assert done.returncode == 1
    assert "Permission denied" in done.stderr


def test_a_filter_that_is_not_whole_is_refused(bench: Bench) -> None:
    for broken in (b"", b"x" * 12, b"\0" * 8 * 4097):
        done = bench.run(write(bench.root / "plan", bench.uid, bench.plan().encode(), broken), "true")
        assert done.returncode == 125
        assert "not a whole filter" in done.stderr


def test_a_filter_that_the_kernel_rejects_is_refused(bench: Bench) -> None:
    done = bench.run(write(bench.root / "plan", bench.uid, bench.plan().encode(), b"\xff" * 8), "true")
    assert done.returncode == 125
    assert "does not take the seccomp filter" in done.stderr


def test_another_policy_than_the_plans_is_refused(bench: Bench, tmp_path: Path) -> None:
    done = bench.run(bench.plan(), "true", options=["--policy", "other"])
    assert done.returncode == 125
    assert "is for test, not other" in done.stderr
