"""Mountpoints of missing protected names: made, shared by concurrent sandboxes, and gone afterwards."""

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import give_to
from tests.faults.kills import descendants, has_ended, strike
from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op, Plan

PROTECT: list[Op] = [("protect", ".git"), ("protect", ".codex")]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_workspace_is_as_before_when_the_last_sandbox_ends(bench: Bench) -> None:
    plan = bench.plan(*PROTECT).write(bench.root / "plan", bench.uid)
    with bench.start(plan, "read x < /dev/zero; exec sleep 60") as first:
        with bench.start(plan, "exec sleep 60") as second:
            assert names(bench.workspace) == [".codex", ".git"]
            second.terminate()
            second.wait(timeout=10)
            assert names(bench.workspace) == [".codex", ".git"], "the first still relies on them"
        first.terminate()
    assert names(bench.workspace) == []


def test_the_first_to_end_leaves_the_protection_of_the_other_in_place(bench: Bench) -> None:
    plan = bench.plan(*PROTECT).write(bench.root / "plan", bench.uid)
    trap = "trap 'mkdir .git/x; exit' TERM"
    with (
        bench.start(plan, "exec sleep 60") as first,
        bench.start(plan, "while :; do sleep 0.05; done", before=trap) as second,
    ):
        first.terminate()
        first.wait(timeout=10)
        second.terminate()
        _, err = second.communicate(timeout=10)
    assert "Read-only" in err
    assert names(bench.workspace) == []


def test_a_killed_launch_is_cleaned_up_by_the_next(
    bench: Bench, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    plan = bench.plan(*PROTECT).write(bench.root / "plan", bench.uid)
    with bench.start(plan, "exec sleep 60") as process:
        process.kill()
    assert names(bench.workspace) == [".codex", ".git"]

    def cleaned() -> bool:
        assert bench.run(plan, "true").returncode == 0
        return names(bench.workspace) == []

    eventually(cleaned)


def test_what_a_killed_launch_left_is_gone_before_the_next_begins(
    bench: Bench, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    with bench.start(bench.plan(*PROTECT), "exec sleep 60") as process:
        below = descendants(process.pid)
        assert strike(process, "all of them")
        eventually(lambda: all(map(has_ended, below)))
    assert names(bench.workspace) == [".codex", ".git"]
    assert bench.run(bench.plan(("protect", ".agents")), "ls", "-A").stdout == ".agents\n"


def test_a_sandbox_that_outlives_its_launcher_keeps_its_protection(
    bench: Bench, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    plan = bench.plan(*PROTECT).write(bench.root / "plan", bench.uid)
    with bench.start(plan, "exec sleep 60") as process:
        below = descendants(process.pid)
        os.kill(below[1], signal.SIGSTOP)  # the inner stage, which would end with its launcher
        process.kill()
        process.wait(timeout=10)
        assert bench.run(plan, "true").returncode == 0
        assert names(bench.workspace) == [".codex", ".git"]
        os.kill(below[1], signal.SIGCONT)
        eventually(lambda: all(map(has_ended, below)))
    assert bench.run(plan, "true").returncode == 0
    assert names(bench.workspace) == []


def test_what_somebody_put_into_a_mountpoint_is_kept(bench: Bench) -> None:
    with bench.start(bench.plan(*PROTECT), "exec sleep 60") as process:
        (bench.workspace / ".git" / "theirs").write_text("x")
        process.terminate()
    assert names(bench.workspace) == [".git"]
    assert names(bench.workspace / ".git") == ["theirs"]


def test_concurrent_launches_with_other_protected_names_are_refused(bench: Bench) -> None:
    other = bench.plan(("protect", ".git")).write(bench.root / "plan2", bench.uid)
    first = Plan(bench.ops(*PROTECT), name="first")
    with bench.start(first, "exec sleep 60") as process:
        done = bench.run(other, "true")
        process.terminate()
    assert done.returncode == 125
    assert (
        f"another sandbox (policy first) works in {bench.workspace} and protects other names" in done.stderr
    )
    assert bench.run(other, "true").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make /run/user")
def test_a_login_or_logout_meanwhile_hides_no_sandbox_from_the_next(bench: Bench) -> None:
    """systemd makes /run/user/UID at login and removes it at logout; locks that lay there would be lost."""
    other = bench.plan(("protect", ".git")).write(bench.root / "plan2", bench.uid)
    runtime = Path(f"/run/user/{bench.uid}")
    runtime.mkdir(mode=0o700, parents=True)
    give_to(runtime, bench.uid)
    try:
        with bench.start(bench.plan(*PROTECT), "exec sleep 60") as process:
            shutil.rmtree(runtime)
            refused = bench.run(other, "true")
            process.terminate()
    finally:
        shutil.rmtree(runtime, ignore_errors=True)
    assert "another sandbox (policy test) works in" in refused.stderr


@pytest.mark.parametrize("first_is_inner", [True, False])
def test_a_sandbox_further_up_or_below_could_move_what_is_protected_and_is_refused(
    bench: Bench, first_is_inner: bool
) -> None:
    inner = bench.make("home/ws/nested/inner")
    places = [inner, bench.workspace] if first_is_inner else [bench.workspace, inner]
    plan = bench.plan(*PROTECT).write(bench.root / "plan", bench.uid)
    with bench.start(plan, "exec sleep 60", cwd=places[0]) as process:
        done = bench.run(plan, "true", cwd=places[1])
        process.terminate()
    assert done.returncode == 125
    assert (
        "could move what is protected there" if first_is_inner else "could move what this one"
    ) in done.stderr
    assert str(bench.workspace) in done.stderr
    assert bench.run(plan, "true", cwd=places[1]).returncode == 0


OFD_SETLKW = 38  # fcntl.F_OFD_SETLKW is newer than Python 3.11


def place_of_lock(root: Path) -> int:
    """Of who works in it, as launcher/lock.c places it: whatever else is locked there is another test's."""
    status = root.stat()
    key = 0xCBF29CE484222325  # FNV-1a, 64 bits
    for byte in f"{status.st_dev}:{status.st_ino}\0".encode():
        key = (key ^ byte) * 0x100000001B3 % (1 << 64)
    return (key >> 2) * 2


def test_what_a_killed_launcher_has_locked_is_waited_for(bench: Bench) -> None:
    """Its bubblewrap may hold the lock for a moment longer; the record, which is locked before it, not."""
    assert bench.run(bench.plan(*PROTECT), "true").returncode == 0
    alone = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, place_of_lock(bench.workspace), 1, 0)
    with open(f"/tmp/fleetbox-{bench.uid}/locks", "r+b", buffering=0) as locks:
        fcntl.fcntl(locks, OFD_SETLKW, alone)
        release = threading.Timer(0.3, locks.close)
        release.start()
        done = bench.run(bench.plan(*PROTECT), "true")
        release.join()
    assert (done.returncode, done.stderr) == (0, "")


def test_sandboxes_with_the_same_nested_roots_work_at_the_same_time(bench: Bench) -> None:
    """As with a shared /tmp and a workspace in it: each protects what the other could move."""
    inner = bench.make("home/projects/one")
    beside = bench.make("home/projects/two")
    rule = ("rule", "write", str(inner.parent))
    plan = bench.plan(rule, *PROTECT).write(bench.root / "plan", bench.uid)
    with bench.start(plan, "exec sleep 60", cwd=inner) as process:
        moved = f"mv .git .was; mv {inner} {inner}.was; test -e {inner}/.git"
        beaten = bench.sh(plan, moved, cwd=inner)
        other = bench.run(plan, "true", cwd=beside)
        process.terminate()
    assert (beaten.returncode, beaten.stderr.count("busy")) == (0, 2), beaten.stderr
    assert other.returncode == 125
    assert f"works in {inner.parent} and protects other names there" in other.stderr


def test_sandboxes_side_by_side_or_without_protected_names_may_be_nested(bench: Bench) -> None:
    inner = bench.make("home/ws/nested/inner")
    beside = bench.make("home/ws/nested/beside")
    plan = bench.plan(*PROTECT).write(bench.root / "plan", bench.uid)
    free = bench.plan().write(bench.root / "plan2", bench.uid)
    with bench.start(plan, "exec sleep 60", cwd=inner) as process:
        assert bench.run(plan, "true", cwd=beside).returncode == 0
        process.terminate()
    with bench.start(free, "exec sleep 60", cwd=bench.workspace) as process:
        assert bench.run(free, "true", cwd=inner).returncode == 0
        process.terminate()


def test_the_state_of_a_running_sandbox_is_locked_against_clean_up_by_age(bench: Bench) -> None:
    """systemd-tmpfiles leaves a directory alone that it cannot lock exclusively."""
    with bench.start(bench.plan(*PROTECT), "exec sleep 60") as process:
        fd = os.open(f"/tmp/fleetbox-{bench.uid}", os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process.terminate()
            process.wait(timeout=10)
        finally:
            os.close(fd)


def test_other_workspaces_are_not_affected(bench: Bench) -> None:
    other = bench.make("home/other")
    with bench.start(bench.plan(*PROTECT), "exec sleep 60") as process:
        done = bench.run(bench.plan(("protect", ".aws")), "true", cwd=other)
        process.terminate()
    assert done.returncode == 0


def test_many_concurrent_launches_leave_nothing(bench: Bench) -> None:
    plan = bench.plan(*PROTECT).write(bench.root / "plan", bench.uid)
    codes: list[int] = []

    def launch() -> None:
        for _ in range(5):
            codes.append(bench.run(plan, "sh", "-c", "test -d .git && ! mkdir .git/x 2>/dev/null").returncode)

    threads = [threading.Thread(target=launch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 20
    assert names(bench.workspace) == []


def test_a_refused_launch_leaves_nothing(bench: Bench) -> None:
    plan = bench.plan(*PROTECT)
    (bench.root / "broken").mkdir()
    path = plan.write(bench.root / "plan", bench.uid)
    (path.parent / "seccomp-nounix.bpf").write_bytes(b"odd")
    assert bench.run(path, "true").returncode == 125
    assert names(bench.workspace) == []


def test_the_lock_is_out_of_the_workloads_reach(bench: Bench) -> None:
    state = Path(f"/tmp/fleetbox-{bench.uid}")
    done = bench.sh(bench.plan(*PROTECT), f"ls {state}; ls -l /proc/*/fd | grep -c locks")
    assert done.stdout.strip() == "0"
    assert stat_mode(state) == 0o700


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make somebody else's directory")
def test_a_state_directory_of_somebody_else_is_refused(launcher: Path, bench: Bench) -> None:
    uid = 54321
    state = Path(f"/tmp/fleetbox-{uid}")
    state.mkdir(mode=0o700)
    try:
        plan = bench.plan().write(bench.root / "plan", uid)
        done = subprocess.run(
            [str(launcher), "--plan", str(plan), "--", "true"],
            user=uid,
            group=uid,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
            cwd=bench.workspace,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        )
    finally:
        state.rmdir()
    assert done.returncode == 125
    assert "is not a directory of uid 54321 with mode 0700" in done.stderr


def test_sigint_reaches_the_workload_once_and_the_launcher_lives_to_clean_up(bench: Bench) -> None:
    script = "for i in 1 2 3 4 5 6; do sleep 0.1; done; exit 4"
    with bench.start(bench.plan(*PROTECT), script, before="trap 'echo int' INT") as process:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=10)
    assert (out, process.returncode) == ("int\n", 4)
    assert names(bench.workspace) == []


REPOSITORY: list[Op] = [
    ("protect-part", ".git", part) for part in ("config", "hooks", "modules", "worktrees")
]


def test_names_that_hold_lines_of_a_record_add_nothing_to_it(bench: Bench) -> None:
    for path in ("x", "x\nmade a/b/.git", "y\nmade z\n/.git", "\\170/.git"):
        bench.make(f"home/ws/{path}")
    before = sorted(bench.workspace.rglob("*"))
    assert bench.run(bench.plan(*REPOSITORY), "true").returncode == 0
    assert sorted(bench.workspace.rglob("*")) == before


def test_more_than_a_record_can_hold_is_a_refusal_that_does_not_last(bench: Bench) -> None:
    for number in range(120):
        bench.make(f"home/ws/{number:03}{'a' * 240}/{'b' * 250}/{'c' * 250}/.git")
    plan = bench.plan(*REPOSITORY)
    for _ in range(2):
        done = bench.run(plan, "true")
        assert done.returncode == 125
        assert "what would have to be protected in the workspace fills more than" in done.stderr
    assert [path.name for path in bench.workspace.rglob("hooks")] == []
    for path in bench.workspace.iterdir():
        shutil.rmtree(path)
    assert bench.run(plan, "true").returncode == 0
