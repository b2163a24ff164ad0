"""Rounds of verbs chosen at random, stopped at random, on a directory that plays a host: run by
test_rounds.py, prints JSON.

    unshare --mount python -m tests.faults.rounds SEED FIRST COUNT ROOT

Each round begins on a fresh host and depends on SEED and its number alone, so a failing one is run again by
itself. After every verb, however it ended, the host is judged from outside by `rounds_judge`.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fleetbox.hostside.__main__ import main
from fleetbox.hostside.paths import Places
from fleetbox.hostside.steps import Step
from tests.faults.rounds_judge import BUNDLES, Expected, Seen, World, Wrong
from tests.integration.hostside import driver
from tests.integration.hostside.full_disk import PAGE, fill_bytes, fill_inodes
from tests.integration.hostside.host import HostTree

PAGES = 128
INODES = 512
FREE = (0, 0, 0, 1, 2, 4, 8, 12)  # so many pages or inodes are left on a full disk
VERBS = (3, 9)  # so many in a round
STOPS = ("none", "none", "none", "time", "step", "call", "bytes", "inodes")
CALLS = (5, 50)  # changes of the file system: within a confirmation, within an activation


class Stop(NamedTuple):
    """How a run is kept from ending well."""

    kind: str
    where: str = ""

    @property
    def kills(self) -> bool:
        return self.kind in {"time", "step", "call"}


class Ended(NamedTuple):
    """How a run ended: its exit code or the signal, negative; and its answer, {} when it was killed."""

    code: int
    answer: dict[str, Any]


class Run:
    """One verb in a child of this process: a fork costs a tenth of a start."""

    def __init__(self, host: HostTree, words: Sequence[str], stdin: bytes, stop: Stop, smoke: str) -> None:
        self._output = os.memfd_create("answer")
        self._stop = stop
        self.began = time.monotonic()
        self._pid = os.fork()
        if self._pid == 0:
            os.dup2(self._output, 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            driver.answer_smoke(smoke)
            if stop.kind == "step":
                driver.stop_at_step(stop.where)
            elif stop.kind == "call":
                driver.stop_at_call(int(stop.where))
            os._exit(main([*words], stdin=io.BytesIO(stdin), places=Places(str(host.root))))

    def ended(self) -> bool:
        """Whether it has; kills it when its time has come."""
        if self._stop.kind == "time" and time.monotonic() - self.began > float(self._stop.where):
            os.kill(self._pid, signal.SIGKILL)
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def reap(self) -> Ended:
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        with os.fdopen(self._output, "rb") as file:
            file.seek(0)
            said = file.read()
        whole = code >= 0 and said.endswith(b"\n")
        return Ended(code, json.loads(said) if whole else {})


class Round:
    """One round; `counts` is what came of all of them."""

    def __init__(self, host: HostTree, chance: random.Random, cycle_s: float, counts: Counter[str]) -> None:
        self._host = host
        self._chance = chance
        self._cycle_s = cycle_s
        self._counts = counts
        self._world = World(host)

    def play(self) -> None:
        """Raises `Wrong`."""
        self._world.boot()
        for _ in range(self._chance.randint(*VERBS)):
            self._chance.choice(self._actions())()
        self._finish()

    def _actions(self) -> list[Callable[[], None]]:
        often = [*[self._activate] * 6, *[self._confirm] * 3, *[self._watchdog] * 2, *[self._pass] * 2]
        return [*often, self._rollback, self._gc, self._two]

    def _activate(self) -> None:
        words, stdin, smoke, expected = self._activation()
        self._judge(words, stdin, smoke, expected, self._stop())

    def _activation(self) -> tuple[list[str], bytes, str, Expected]:
        chance, world = self._chance, self._world
        built = chance.choice(BUNDLES)
        smoke = chance.choice(("pass", "pass", "pass", "fail", "error"))
        on_trial, narrows, clears = (chance.random() < odds for odds in (0.6, 0.4, 0.3))
        words = ["activate", built.digest, "--bundle", "-"]
        words += ["--confirm-within", "1000"] if on_trial else []
        words += [] if narrows else world.not_narrower()
        words += ["--clear-quarantine"] if clears else []
        expected = world.activation(built, smoke, on_trial=on_trial, narrows=narrows, clears=clears)
        return words, built.tar, smoke, expected

    def _confirm(self) -> None:
        generation, nonce = self._world.last_activation
        kind = self._chance.choice(("right", "right", "right", "number", "nonce"))
        number = generation + (kind == "number")
        nonce = nonce if kind != "nonce" else "0" * 32
        expected = self._world.confirmation(number, nonce)
        self._judge(["confirm", str(number), nonce], b"", "pass", expected, self._stop())

    def _rollback(self) -> None:
        narrows = self._chance.random() < 0.5
        words = ["rollback", *([] if narrows else self._world.not_narrower())]
        self._judge(words, b"", "pass", self._world.rollback(narrows=narrows), self._stop())

    def _gc(self) -> None:
        words = ["gc", "--keep", str(self._chance.randint(1, 4))]
        self._judge(words, b"", "pass", self._world.no_change(), self._stop())

    def _watchdog(self) -> None:
        self._judge(["watchdog", "--once"], b"", "pass", self._world.no_change(), self._stop())

    def _pass(self) -> None:
        """Time: the machine is rebooted, or a deadline is over."""
        self._counts["reboot" if (reboots := self._chance.random() < 0.5) else "deadline"] += 1
        self._world.boot() if reboots else self._world.age()

    def _two(self) -> None:
        """Two controllers activate at once; one of them may be killed."""
        chosen = [self._activation() for _ in range(2)]
        kill = self._chance.random() < 0.3
        stops = [
            Stop("time", str(self._chance.uniform(0, 2 * self._cycle_s))) if kill else Stop("none"),
            Stop("none"),
        ]
        legal = frozenset().union(*(expected.meanwhile for *_, expected in chosen))
        runs = [
            Run(self._host, words, stdin, stop, smoke)
            for (words, stdin, smoke, _), stop in zip(chosen, stops, strict=True)
        ]
        self._wait(runs, legal | self._world.mixtures(legal))
        ended = [run.reap() for run in runs]
        self._counts["two at once"] += 1
        self._world.judge_two([expected for *_, expected in chosen], [(e.code, e.answer) for e in ended])

    def _stop(self) -> Stop:
        kind = self._chance.choice(STOPS)
        where = {
            "time": str(self._chance.uniform(0, 1.1 * self._cycle_s)),
            "step": self._chance.choice(list(Step)).name,
            "call": str(self._chance.randint(1, self._chance.choice(CALLS))),
            "bytes": str(self._chance.choice(FREE)),
            "inodes": str(self._chance.choice(FREE)),
        }.get(kind, "")
        return Stop(kind, where)

    def _judge(self, words: Sequence[str], stdin: bytes, smoke: str, expected: Expected, stop: Stop) -> None:
        with self._filled(stop):
            run = Run(self._host, words, stdin, stop, smoke)
            self._wait([run], expected.meanwhile)
            ended = run.reap()
        killed = ended.code == -signal.SIGKILL
        self._counts[f"{words[0]}: {'killed' if killed else 'ended'}"] += 1
        self._counts[f"stop by {stop.kind}"] += killed or not stop.kills
        known = self._world.not_narrower()
        short = " ".join(word for at, word in enumerate(words) if at < 2 or word not in known)
        self._world.note(f"{short} smoke={smoke} {stop} -> {ended.code} {ended.answer.get('error')}")
        self._world.judge(expected, ended.code, ended.answer, full=stop.kind in {"bytes", "inodes"})

    @contextmanager
    def _filled(self, stop: Stop) -> Iterator[None]:
        disk = self._host.state.parent
        if stop.kind == "bytes":
            fill_bytes(disk, int(stop.where))
        elif stop.kind == "inodes":
            fill_inodes(disk, int(stop.where))
        yield
        for ballast in disk.glob("ballast*"):
            ballast.unlink()

    def _wait(self, runs: Sequence[Run], legal: frozenset[Seen]) -> None:
        """At no instant may a launch see anything else than a whole, legal bundle."""
        running = [*runs]
        while running := [run for run in running if not run.ended()]:
            self._world.glimpse(legal)
            self._counts["glimpses"] += 1
            time.sleep(0.002)

    def _finish(self) -> None:
        """A reboot, and the next push: the host is as good as new."""
        self._world.boot()
        self._judge(["watchdog", "--once"], b"", "pass", self._world.no_change(), Stop("none"))
        last = BUNDLES[0]
        expected = self._world.activation(last, "pass", on_trial=False, narrows=False, clears=True)
        words = ["activate", last.digest, "--bundle", "-", "--clear-quarantine", *self._world.not_narrower()]
        self._judge(words, last.tar, "pass", expected, Stop("none"))
        self._world.judge_settled()


def cycle_s(host: HostTree) -> float:
    """How long an activation takes here."""

    def one(number: int) -> float:
        built = BUNDLES[number % 2]
        run = Run(host, ["activate", built.digest, "--bundle", "-"], built.tar, Stop("none"), "pass")
        code = run.reap().code
        assert code == 0, code
        return time.monotonic() - run.began

    return statistics.median(one(number) for number in range(7))


def play(seed: int, first: int, count: int, root: Path) -> dict[str, Any]:
    disk = root / "var/lib"
    disk.mkdir(parents=True)
    cycle = None
    counts: Counter[str] = Counter()
    for number in range(first, first + count):
        options = f"size={PAGES * PAGE},nr_inodes={INODES}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(disk)], check=True)
        host = HostTree(root)
        if cycle is None:
            cycle = cycle_s(host)
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(disk)], check=True)
        played = Round(host, random.Random(f"{seed}:{number}"), cycle, counts)  # noqa: S311
        try:
            played.play()
        except Wrong as problem:
            return {"counts": counts, "rounds": number - first, "wrong": [f"round {number}", *problem.story]}
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    return {"counts": counts, "rounds": count, "wrong": [], "cycle_ms": round((cycle or 0) * 1000, 1)}


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    seed, first, count = map(int, sys.argv[1:4])
    json.dump(play(seed, first, count, Path(sys.argv[4])), sys.stdout)
