"""Launches, two at a time in one workspace, each killed at a random moment: run by test_kill.py, prints JSON.

    python -m tests.faults.kills LAUNCHER PLAN ROOT UID COUNT SEED

Every so often, and at the end, one launch runs in peace; then everything must be as it was.
"""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.faults import leftovers
from tests.faults.flips import Start, as_user

VICTIMS = ("launcher", "bwrap", "inner stage", "workload", "process group", "all of them")
ROUND = 25  # launches of each of the two before everything is compared
WAIT_S = 10.0


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """Outermost first: bwrap, the inner stage, the workload."""
    found, last = [], [pid]
    while last:
        last = [child for parent in last for child in children(parent)]
        found += last
    return found


def has_ended(pid: int) -> bool:
    """Reaped or not: nothing of it is open any more."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] in "ZX"


def freeze(pid: int) -> list[int]:
    """Stop a process and everything below it, outermost first, so that nothing new appears meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    return [pid] + [deeper for child in children(pid) for deeper in freeze(child)]


def kill(pid: int) -> bool:
    """False when it has gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def strike(process: "subprocess.Popen[str]", victim: str) -> bool:
    """Kill; false when there was nothing to kill (any more)."""
    below = descendants(process.pid)
    depth = {"bwrap": 0, "inner stage": 1, "workload": 2}
    if process.poll() is not None:
        return False
    try:
        if victim == "process group":
            os.killpg(process.pid, signal.SIGKILL)
        elif victim in depth:
            return kill(below[depth[victim]])
        else:
            victims = freeze(process.pid) if victim == "all of them" else [process.pid]
            return sum(kill(pid) for pid in victims) > 0
    except (IndexError, ProcessLookupError):
        return False
    return True


class Killing:
    """The counts, and the launches that made them."""

    def __init__(self, start: Start, command: Sequence[str], seed: int) -> None:
        self.start = start
        self.command = command
        self.chance = random.Random(seed)  # noqa: S311 - a seed that is printed is the point
        self.lock = threading.Lock()
        self.killed: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.bypassed: list[str] = []
        self.duration = statistics.median(self.time_one() for _ in range(5))

    def time_one(self) -> float:
        begin = time.monotonic()
        process = self.start(self.command)
        out, err = process.communicate(timeout=60)
        if process.returncode != 0 or "reached" not in out:
            raise SystemExit(f"a launch in peace ended with {process.returncode}: {out}{err}")
        return time.monotonic() - begin

    def one(self) -> None:
        with self.lock:
            victim = self.chance.choice(VICTIMS)
            delay = self.chance.uniform(0, 1.2 * self.duration)
        process = self.start(self.command)
        time.sleep(delay)
        struck = strike(process, victim)
        out, err = process.communicate(timeout=60)
        with self.lock:
            (self.killed if struck else self.missed)[victim] += 1
            self.bypassed += [line for line in out.splitlines() if line.startswith("bypass")]
            if not struck:
                first = err.strip().splitlines()[:1]
                self.answers[f"{process.returncode} {' '.join(first)}"] += 1

    def round(self) -> None:
        threads = [threading.Thread(target=lambda: [self.one() for _ in range(ROUND)]) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def wait_until_alone() -> list[str]:
    deadline = time.monotonic() + WAIT_S
    while (left := leftovers.processes(os.getpid())) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def state_of(root: Path, uid: int, state: Path) -> dict[str, object]:
    return {
        "tree": leftovers.tree(root),
        "mounts": leftovers.mounts(),
        "sockets": leftovers.sockets(),
        "locks": leftovers.locks(state),
        "temporary files": leftovers.temporary(uid, state),
        "cgroups": leftovers.cgroups(uid),
    }


def compare(before: dict[str, object], now: dict[str, object]) -> list[str]:
    return [
        f"{what}: {before[what]!r:.500} != {now[what]!r:.500}" for what in before if before[what] != now[what]
    ]


def main(words: Sequence[str]) -> None:
    launcher, plan, root, uid, count, seed = words
    workspace = Path(root) / "home/ws"
    state = Path(f"/tmp/fleetbox-{uid}")
    start = as_user(int(uid), Path(root) / "home", workspace)
    attack = [*json.loads(os.environ["PROBE"])]
    before = state_of(workspace, int(uid), state)
    killing = Killing(start, [launcher, "--plan", plan, "--", *attack], int(seed))
    problems: list[str] = []
    peace = 0
    while killing.killed.total() < int(count) and not problems:
        killing.round()
        problems += [f"processes: {name}" for name in wait_until_alone()]
        killing.time_one()
        peace += 1
        problems += [f"processes: {name}" for name in wait_until_alone()]
        problems += compare(before, state_of(workspace, int(uid), state))
    result = {
        "killed": killing.killed,
        "missed": killing.missed,
        "answers": killing.answers,
        "bypassed": killing.bypassed,
        "compared": peace,
        "problems": problems,
        "duration_ms": round(killing.duration * 1000, 1),
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
