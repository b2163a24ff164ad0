"""One launch ends, starts or is killed exactly while another starts: every window, forced.

`stop` (stop.c) halts a launch at each of its system calls about locks and mountpoints. There the other launch
happens, wholly or up to where it waits for the first; then the first goes on, or is killed.
"""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import Show
from tests.faults.leftovers import tree
from tests.faults.tools import FULL, built
from tests.integration.launcher.conftest import Bench
from tests.support.plans import Op

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to trace another account's processes")
NAMES = (".git", ".codex", "sub/deep/.claude")
PROTECT: list[Op] = [("protect", name) for name in NAMES]
PATIENCE_S = 0.15  # for what cannot go on before the halted launch does
STEP = 1 if FULL else 2
MOST = 200


class Halted:
    """A launch that stands at its Nth system call, or has ended before it came so far."""

    def __init__(self, bench: Bench, plan: Path, number: int) -> None:
        account = ["setpriv", f"--reuid={bench.uid}", f"--regid={bench.uid}", "--clear-groups"]
        probe = bench.command(plan, str(built("attack")), "probe", *NAMES)
        self.process = subprocess.Popen(
            [str(built("stop")), str(number), "2", *account, *probe],
            cwd=bench.workspace,
            env={"PATH": os.environ["PATH"], "HOME": str(bench.home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.where = self.process.stdout.readline().strip()

    @property
    def halted(self) -> bool:
        return self.where.startswith("stopped")

    def finish(self, word: str = "") -> tuple[str, str]:
        """Let it go on ("go") or kill it; its answer and what the probe inside said."""
        out, err = self.process.communicate(f"{word}\n" if word else None, timeout=30)
        return (out or self.where).strip(), err


@contextmanager
def every_window(bench: Bench, show: Show, what: str) -> Iterator[Iterator[tuple[Path, int, Counter[str]]]]:
    seen: Counter[str] = Counter()
    plan = bench.plan(*PROTECT).write(bench.root / "plan", bench.uid)
    yield ((plan, number, seen) for number in range(1, MOST, STEP))
    show(
        f"{what}: halted {seen.total()} times", *(f"    {count:4} x  {name}" for name, count in seen.items())
    )


@pytest.fixture
def before(bench: Bench) -> dict[str, tuple[object, ...]]:
    bench.make("home/ws/sub/deep/kept", "as it was")
    return tree(bench.workspace)


def start(bench: Bench, plan: Path, script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        bench.command(plan, "sh", "-c", script),
        cwd=bench.workspace,
        env={"PATH": os.environ["PATH"], "HOME": str(bench.home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        user=bench.uid,
        group=bench.uid,
        extra_groups=[],
    )


def probe_line() -> str:
    return f"{built('attack')} probe {' '.join(NAMES)}"


def try_wait(process: "subprocess.Popen[str]") -> None:
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        return  # it waits for the halted one


def test_a_whole_launch_fits_into_every_window_of_another(
    bench: Bench, show: Show, before: dict[str, tuple[object, ...]]
) -> None:
    with every_window(bench, show, "another launch in between") as windows:
        for plan, number, seen in windows:
            first = Halted(bench, plan, number)
            if not first.halted:
                first.finish()
                break
            seen[first.where] += 1
            second = start(bench, plan, probe_line())
            try_wait(second)
            ended, said = first.finish("go")
            out, err = second.communicate(timeout=30)
            assert (second.returncode, out) == (0, "reached\n"), (number, first.where, err)
            assert (ended, said) == ("ended 0", "reached\n"), (number, first.where)
            assert tree(bench.workspace) == before, (number, first.where)
    assert seen.total() > 5


def test_a_launch_that_goes_on_keeps_its_protection_when_the_other_cleans_up(
    bench: Bench, show: Show, before: dict[str, tuple[object, ...]]
) -> None:
    with every_window(bench, show, "another launch begins in between and goes on") as windows:
        for plan, number, seen in windows:
            first = Halted(bench, plan, number)
            if not first.halted:
                first.finish()
                break
            seen[first.where] += 1
            second = start(bench, plan, f"read word && {probe_line()}")
            try_wait(second)
            first.finish("go")
            out, err = second.communicate("go\n", timeout=30)
            assert (second.returncode, out) == (0, "reached\n"), (number, first.where, err)
            assert tree(bench.workspace) == before, (number, first.where)
    assert seen.total() > 5


def test_a_launch_killed_in_any_window_is_cleaned_up_by_the_next(
    bench: Bench, show: Show, before: dict[str, tuple[object, ...]]
) -> None:
    with every_window(bench, show, "killed there") as windows:
        for plan, number, seen in windows:
            first = Halted(bench, plan, number)
            if not first.halted:
                first.finish()
                break
            seen[first.where] += 1
            assert first.finish("kill")[0] == "ended 137"
            for _ in range(50):  # its sandbox may take a moment to follow
                second = start(bench, plan, probe_line())
                out, err = second.communicate(timeout=30)
                assert (second.returncode, out) == (0, "reached\n"), (number, first.where, err)
                if tree(bench.workspace) == before:
                    break
            assert tree(bench.workspace) == before, (number, first.where)
    assert seen.total() > 5


@pytest.mark.parametrize("roots", ["one root", "roots inside roots"])
def test_the_last_of_two_launches_cleans_up_wherever_the_other_stands(
    bench: Bench, show: Show, before: dict[str, tuple[object, ...]], roots: str
) -> None:
    """Both work; the first halts anywhere on its way, the second ends meanwhile, then the first goes on."""
    inner: list[Op] = [("rule", "write", str(bench.workspace / "sub"))] if roots != "one root" else []
    plan = bench.plan(*PROTECT, *inner).write(bench.root / "plan", bench.uid)
    seen: Counter[str] = Counter()
    for number in range(1, MOST, STEP):
        second = start(bench, plan, f"echo there; read word; {probe_line()}")
        assert second.stdout is not None
        assert second.stdin is not None
        assert second.stdout.readline() == "there\n"
        first = Halted(bench, plan, number)
        seen[first.where] += first.halted
        second.stdin.write("go\n")
        second.stdin.flush()
        try_wait(second)
        ended, said = first.finish("go" if first.halted else "")
        out, err = second.communicate(timeout=30)
        assert (second.returncode, out) == (0, "reached\n"), (number, first.where, err)
        assert (ended, said) == ("ended 0", "reached\n"), (number, first.where)
        assert tree(bench.workspace) == before, (number, first.where)
        if not first.halted:
            break
    lines = (f"    {count:4} x  {name}" for name, count in seen.items() if count)
    show(f"the other ends in between, {roots}:", *lines)
    assert seen.total() > 5
