"""A race: something flips protected names between directory and symlink while launches start there."""

import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

NAMES = (".git", ".codex", ".agents", ".vscode", ".vscode/settings.json")
KEY = ":private/key"
PARENTS = ("private",)
SPEEDS = {"2.5-5 ms": (2500, 5000), "6-12 ms": (6000, 12000), "15-30 ms": (15000, 30000)}
SIBLING_LIVES = (0.02, 0.4)  # seconds; so that launches start while it starts, works and ends

Start = Callable[[Sequence[str]], "subprocess.Popen[str]"]


@dataclass
class Count:
    """What came of the launches, and of the flips."""

    launches: int = 0
    reached: int = 0
    bypassed: int = 0
    flips_tried: int = 0
    flips_done: int = 0
    siblings: int = 0
    ways: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)

    def row(self, title: str) -> str:
        return (
            f"{title:34} {self.launches:8} {self.reached:8} {self.bypassed:8}"
            f" {self.flips_done:7} of {self.flips_tried:7}"
        )


HEADING = (
    f"{'who flips, how fast':34} {'launches':>8} {'reached':>8} {'bypassed':>8} {'flips done of tried':>18}"
)


def prepare(workspace: Path) -> None:
    """Names that exist and names that do not; `.vscode` must only stay where it is."""
    for directory in (".agents", ".vscode", "private", "decoy"):
        (workspace / directory).mkdir(exist_ok=True)
    (workspace / ".agents/config").write_text("as it was")
    (workspace / ".vscode/settings.json").write_text("{}")
    (workspace / "private/key").write_text("secret")


def _add(count: Count, out: str, err: str) -> None:
    count.launches += 1
    if "reached" not in out:
        count.refusals[err.strip().splitlines()[0] if err.strip() else "without a word"] += 1
        return
    count.reached += 1
    ways = [line.removeprefix("bypass ") for line in out.splitlines() if line.startswith("bypass ")]
    count.bypassed += bool(ways)
    count.ways.update(ways)


def launch_many(start: Start, command: Sequence[str], number: int) -> Count:
    """Two at a time, as an editor and a person would."""
    count = Count()
    lock = threading.Lock()

    def work(share: int) -> None:
        for _ in range(share):
            process = start(command)
            out, err = process.communicate(timeout=60)
            with lock:
                _add(count, out, err)

    threads = [threading.Thread(target=work, args=(number // 2,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count


@contextmanager
def flipper(start: Start, command: Sequence[str], count: Count, *, forever: bool) -> Iterator[None]:
    """Flips until the end of the block; unless `forever`, in one process after another."""
    ended = threading.Event()
    chance = random.Random(20261121)  # noqa: S311 - any will do

    def work() -> None:
        while not ended.is_set():
            process = start(command)
            ended.wait(None if forever else chance.uniform(*SIBLING_LIVES))
            process.terminate()
            out, _ = process.communicate(timeout=60)
            count.siblings += 1
            words = out.splitlines()[-1].split() if out else []
            if words[:1] == ["flips"]:
                count.flips_tried += int(words[1])
                count.flips_done += int(words[2])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        time.sleep(0.05)
        yield
    finally:
        ended.set()
        thread.join()


def race(
    flipping: Callable[[Count], AbstractContextManager[None]],
    start: Start,
    command: Sequence[str],
    number: int,
) -> Count:
    """`number` launches of `command` while `flipping` goes on."""
    flips = Count()
    with flipping(flips):
        count = launch_many(start, command, number)
    count.flips_tried, count.flips_done, count.siblings = flips.flips_tried, flips.flips_done, flips.siblings
    return count


def as_user(uid: int, home: Path, workspace: Path) -> Start:
    """Starts commands as the account, in the workspace, with pipes."""
    account = {"user": uid, "group": uid, "extra_groups": []} if os.geteuid() == 0 else {}

    def start(command: Sequence[str]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            cwd=workspace,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
            **account,
        )

    return start
