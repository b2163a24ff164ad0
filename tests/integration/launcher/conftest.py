"""A bench for the launcher: a home, a workspace, a launch plan, and one call that runs a workload."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunAs, give_to
from tests.support.plans import Op, Plan


@dataclass(frozen=True)
class Bench:
    """Everything a launch needs; every path belongs to the unprivileged account."""

    launcher: Path
    run_as: RunAs
    uid: int
    root: Path  # visible inside through a read rule, because /var/tmp itself is private there
    home: Path
    workspace: Path
    mounts: Sequence[str] = ()  # the option that says who mounts what restricts

    def ops(self, *ops: Op) -> list[Op]:
        return [("rule", "read", str(self.root)), *ops]

    def plan(self, *ops: Op, **head: str) -> Plan:
        return Plan(self.ops(*ops), {name.replace("_", "-"): value for name, value in head.items()})

    def command(self, plan: Plan | Path, *words: str, options: Sequence[str] = ()) -> list[str]:
        path = plan if isinstance(plan, Path) else plan.write(self.root / "plan", self.uid)
        mounts = () if "--mounts" in options else self.mounts
        return [str(self.launcher), "--plan", str(path), *mounts, *options, "--", *words]

    def run(
        self, plan: Plan | Path, *words: str, options: Sequence[str] = (), **settings: Any
    ) -> "subprocess.CompletedProcess[str]":
        return self.run_as(
            self.command(plan, *words, options=options),
            **{"cwd": self.workspace, "stdin": subprocess.DEVNULL} | settings,
        )

    def sh(self, plan: Plan | Path, script: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
        return self.run(plan, "sh", "-c", script, **settings)

    def sh_after(
        self, prepare: str, plan: Plan | Path, script: str, *, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """As `sh`, after `prepare`, which root runs in a mount namespace of its own."""
        if os.geteuid() != 0:
            pytest.skip("needs root to make mounts")
        drop = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        words = [*drop, *self.command(plan, "sh", "-c", script)]
        return subprocess.run(
            ["unshare", "--mount", "sh", "-ec", f'{prepare}\nexec "$@"', "sh", *words],
            cwd=self.workspace,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home)} if env is None else env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def run_without(self, call: str, words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """On a kernel that does not know this system call, as strace plays it."""
        strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:error=ENOSYS"]
        return self.run_as([*strace, *words], cwd=self.workspace, stdin=subprocess.DEVNULL)

    def bwrap_needs(self, call: str) -> bool:
        """bwrap 0.12 opens with openat2 what it binds."""
        return self.run_without(call, ["bwrap", "--ro-bind", "/", "/", "true"]).returncode != 0

    @contextmanager
    def start(
        self, plan: Plan | Path, script: str, *, before: str = ":", cwd: Path | None = None
    ) -> Iterator["subprocess.Popen[str]"]:
        """A launch that is still running when this returns: it has done `before` and written `ready`."""
        settings: dict[str, Any] = (
            {"user": self.uid, "group": self.uid, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        process = subprocess.Popen(
            self.command(plan, "sh", "-c", f"{before}; echo ready; {script}"),
            cwd=cwd or self.workspace,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **settings,
        )
        with process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n", process.communicate()
                yield process
            except BaseException:
                process.kill()  # or leaving would wait for the workload
                raise

    def make(self, relative: str, text: str | None = None) -> Path:
        """A file below `root`, or a directory without `text`, with its parents; all the account's own."""
        path = self.root / relative
        missing = [parent for parent in (path, *path.parents) if not parent.exists()]
        if text is None:
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for made in missing:
            give_to(made, self.uid)
        return path


# What these modules claim must hold whoever mounts what restricts: the inner stage, or bwrap as its fallback.
BOTH_WAYS = ("test_paths", "test_rename", "test_closed", "test_residue")


# bwrap binds by path: what is moved while it does so gets away (docs/threat-model.md).
BUT_RACES = (
    "test_a_match_that_another_process_moves_is_denied_or_nothing_runs",
    "test_one_that_a_workload_could_have_moved_is_a_reason_to_refuse",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    name = metafunc.module.__name__.rpartition(".")[2]
    both = name.startswith(BOTH_WAYS) and metafunc.function.__name__ not in BUT_RACES
    if both and "bench" in metafunc.fixturenames:
        metafunc.parametrize("mounts", [("--mounts", "inner"), ("--mounts", "bwrap")], ids=" ".join)


@pytest.fixture
def mounts(needs_sandbox: None) -> Sequence[str]:
    return ()


@pytest.fixture
def bench(launcher: Path, run_as: RunAs, workload_user: int, open_dir: Path, mounts: Sequence[str]) -> Bench:
    home = open_dir / "home"
    workspace = home / "ws"
    workspace.mkdir()
    give_to(workspace, workload_user)
    return Bench(launcher, run_as, workload_user, open_dir, home, workspace, mounts)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait for a condition, at most five seconds."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < deadline, "it did not happen within five seconds"
            time.sleep(0.02)

    return wait
