"""Symlinks on the way: refused where a workload can have planted them, followed elsewhere, loops said."""

import os
from pathlib import Path

import pytest

from tests.conftest import give_to
from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op

PLANTED = "symlink on the way to what the policy makes writable"


def link(bench: Bench, path: Path, target: str | Path, owner: int | None = None) -> Path:
    path.symlink_to(target)
    give_to(path, bench.uid if owner is None else owner)
    return path


def test_a_link_planted_by_the_workload_of_another_policy_opens_nothing(bench: Bench) -> None:
    victim = bench.make("home/.config/autostart/x", "x").parent
    bench.make("home/p1")
    planted = bench.sh(bench.plan(("rule", "write", "${HOME}/p1")), f"ln -s {victim} ~/p1/data")
    assert planted.returncode == 0
    for rule in ("${HOME}/p1/data", "${HOME}/p1/data/deeper"):
        done = bench.sh(bench.plan(("rule", "write", rule)), f"echo evil > {victim}/x")
        assert done.returncode == 125
        assert f"{PLANTED}: {bench.home}/p1/data" in done.stderr
    assert (victim / "x").read_text() == "x"


def test_a_link_directly_in_the_home_directory_is_the_users_own(bench: Bench) -> None:
    bench.make("scratch/pip")
    link(bench, bench.home / ".cache", bench.root / "scratch")
    done = bench.sh(bench.plan(("rule", "write", "${HOME}/.cache/pip")), "echo x > ~/.cache/pip/f")
    assert done.stderr == ""
    assert (bench.root / "scratch/pip/f").read_text() == "x\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to own a link")
@pytest.mark.parametrize(("owner", "followed"), [(0, True), (4711, False)])
def test_a_link_of_root_is_followed_and_one_of_another_account_is_not(
    bench: Bench, owner: int, followed: bool
) -> None:
    bench.make("data")
    link(bench, bench.root / "alias", "data", owner)
    done = bench.sh(bench.plan(("rule", "write", f"{bench.root}/alias")), f"echo x > {bench.root}/data/f")
    assert (bench.root / "data/f").exists() is followed
    assert (PLANTED in done.stderr) is not followed


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to own a link")
def test_a_root_named_twice_through_a_link_is_one(bench: Bench) -> None:
    bench.make("data/kept/f", "x")
    link(bench, bench.root / "alias", "data", 0)
    plan = bench.plan(
        ("rule", "write", f"{bench.root}/data"),
        ("rule", "write", f"{bench.root}/alias"),
        ("rule", "read", f"{bench.root}/alias/kept"),
        ("protect", ".git"),
    )
    done = bench.sh(
        plan, f"cd {bench.root}; echo evil > data/kept/f; mkdir alias/.git/x; touch alias/g && echo fine"
    )
    assert done.stdout == "fine\n"
    assert (bench.root / "data/kept/f").read_text() == "x"
    assert sorted(path.name for path in (bench.root / "data").iterdir()) == ["g", "kept"]


@pytest.mark.parametrize("access", ["none", "read"])
def test_what_is_denied_is_followed_through_any_link(bench: Bench, access: str) -> None:
    bench.make("home/a/real/f", "x")
    bench.make("home/b")
    link(bench, bench.home / "b/one", "../a/../b/two")
    link(bench, bench.home / "b/two", bench.home / "a/real")
    plan = bench.plan(("rule", access, "${HOME}/b/one/f"), ("rule", "write", "${HOME}/a"))
    done = bench.sh(plan, "echo evil > ~/a/real/f; touch ~/a/fine && echo fine")
    assert done.stdout == "fine\n"
    assert (bench.home / "a/real/f").read_text() == "x"


def test_a_loop_of_links_is_a_refusal(bench: Bench) -> None:
    link(bench, bench.home / "a", "b")
    link(bench, bench.home / "b", "a")
    done = bench.run(bench.plan(("rule", "none", "${HOME}/a/x")), "true")
    assert done.returncode == 125
    assert "cannot follow the symlink" in done.stderr


def test_a_link_that_goes_back_over_what_is_not_there_is_a_refusal(bench: Bench) -> None:
    link(bench, bench.home / "a", "gone/../ws")
    done = bench.run(bench.plan(("rule", "none", "${HOME}/a/x")), "true")
    assert done.returncode == 125
    assert "does not exist and a link goes back over it" in done.stderr


def test_two_dots_lead_to_the_parent_of_where_a_link_leads(bench: Bench) -> None:
    bench.make("data/deep/x", "text")
    bench.make("data/secret", "secret")
    bench.make("home/secret", "another")
    link(bench, bench.home / "hop", bench.root / "data/deep")
    link(bench, bench.home / "up", "hop/../secret")
    done = bench.sh(bench.plan(("rule", "none", "${HOME}/up")), f"cat ~/secret {bench.root}/data/secret")
    assert done.stdout == "another"
    assert done.stderr.count("Permission denied") == 1


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_link_at_any_depth_below_a_writable_root_is_a_refusal(bench: Bench, depth: int) -> None:
    way = [f"d{i}" for i in range(depth - 1)]
    parent = bench.workspace.joinpath(*way)
    if way:
        bench.make(f"home/ws/{'/'.join(way)}")
    planted = link(bench, parent / "hop", bench.home)
    op: Op = ("rule", "none", f"{parent}/hop/x/y")
    done = bench.run(bench.plan(op), "true")
    assert done.returncode == 125
    assert f"symlink below a writable directory: {planted}" in done.stderr
