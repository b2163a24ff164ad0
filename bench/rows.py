"""Competitors of a bench: commands whose runs are interleaved in random order, and the tables about them."""

import os
import random
import shlex
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Row:
    """One competitor: a command, the descriptors it needs as {number: file}, its samples in milliseconds."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    files: Mapping[int, str] = field(default_factory=dict)
    samples: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # user and system time of all its processes
    may_fail: bool = False  # somebody else's, which now and then does: counted, and no sample
    failures: int = 0

    def measure(self, cwd: Path) -> None:
        actions = [(os.POSIX_SPAWN_OPEN, fd, name, os.O_RDONLY, 0) for fd, name in self.files.items()]
        actions.append((os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0))
        actions.append((os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0))
        os.chdir(cwd)
        begin = time.perf_counter()
        pid = os.posix_spawnp(self.argv[0], list(self.argv), dict(self.env), file_actions=actions)
        _, status, used = os.wait4(pid, 0)
        taken = 1000 * (time.perf_counter() - begin)
        if status != 0 and self.may_fail:
            self.failures += 1
            return
        if status != 0:
            raise SystemExit(f"{self.name}: ended with wait status {status}: {shlex.join(self.argv)[:2000]}")
        self.samples.append(taken)
        self.cpu.append(1000 * (used.ru_utime + used.ru_stime))

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def refusal(self, cwd: Path) -> str:
        """What it says when it does not run here; empty when it does."""
        keep = tuple(self.files)
        preexec = self._open_files if keep else None
        done = subprocess.run(
            self.argv,
            cwd=cwd,
            env=dict(self.env),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            close_fds=False,
            preexec_fn=preexec,
        )
        return (
            ""
            if done.returncode == 0
            else (done.stderr.strip() or f"status {done.returncode}").splitlines()[0]
        )

    def _open_files(self) -> None:
        for fd, name in self.files.items():
            os.dup2(os.open(name, os.O_RDONLY), fd)


def interleave(rows: Sequence[Row], rounds: int, cwd: Path) -> None:
    for number in range(rounds + 2):
        for row in random.sample(list(rows), len(rows)):
            row.measure(cwd)
            if number < 2:  # warm the page cache and the feature cache
                row.samples.clear()
                row.cpu.clear()


def table(rows: Sequence[Row], base: Row) -> None:
    """Median, spread (10th to 90th percentile), ratio of medians; the same of the time on a processor."""
    print(f"{'':34}{'median ms':>10}{'p10-p90':>16}{'ratio':>8}{'cpu ms':>8}{'ratio':>8}")
    for row in rows:
        deciles = statistics.quantiles(row.samples, n=10)
        spread = f"{deciles[0]:.2f}-{deciles[-1]:.2f}"
        cpu = statistics.median(row.cpu)
        ratios = row.median / base.median, cpu / statistics.median(base.cpu)
        print(f"{row.name:34}{row.median:10.2f}{spread:>16}{ratios[0]:8.2f}{cpu:8.2f}{ratios[1]:8.2f}")
