"""Records events in the audit trail of a directory, and dies or runs out of disk where a test asks.

    python -m tests.integration.hostside.recorder call:N ROOT     SIGKILL before the Nth change or write
    unshare --mount python -m tests.integration.hostside.recorder full ROOT     ever less space; prints JSON

Small files, so that a few records see rotation, too. The doors are Python's own, as in `driver`.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from fleetbox.hostside import audit
from fleetbox.hostside.chain_check import check
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.trail import Limits
from tests.integration.hostside.driver import CHANGES, die
from tests.integration.hostside.full_disk import PAGE, PAGES, fill_bytes, fill_inodes, mount

RECORDS = 12


def stop_at(number: int) -> None:
    """Each change, each write and each fsync counts; the write before which it dies has happened by half."""
    left = number
    write, fsync = os.write, os.fsync

    def count() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    def half(fd: int, data: bytes) -> int:
        if count():
            write(fd, data[: len(data) // 2])
            die()
        return write(fd, data)

    def synced(fd: int) -> None:
        if count():
            die()
        fsync(fd)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY
        if (event in CHANGES or writes) and count():
            die()

    os.write, os.fsync = half, synced  # type: ignore[assignment]
    sys.addaudithook(hook)


def record_all(places: Places) -> None:
    """Each number is printed once its record is durable: what was promised."""
    for n in range(RECORDS):
        head = audit.record(places, "happened", n=n, by=os.getpid())
        print(head.seq, head.hash, flush=True)


def on_ever_fuller_disks(root: Path) -> list[dict[str, Any]]:
    """What the trail is after a record that met so little room, and after one that has room again."""
    disk = root / "var/log"
    disk.mkdir(parents=True)
    mount("-t", "tmpfs", "-o", f"size={PAGES * PAGE},nr_inodes=32", "none", at=disk)
    places, found = Places(str(root)), []
    for fill, free in [(fill_inodes, 0), (fill_inodes, 1), (fill_bytes, 0), (fill_bytes, 1)] * 3:
        heads = [audit.record(places, "happened", text="x" * 400)]
        fill(disk, free)
        refused = ""
        for _ in range(30):
            try:
                heads.append(audit.record(places, "happened", text="y" * 400))
            except HostError as problem:
                refused = problem.code
                break
        assert audit.attempt(places, "rolled_back", text="z" * 400) is None or not refused
        for ballast in disk.glob("ballast*"):
            ballast.unlink()
        heads.append(audit.record(places, "happened"))
        with audit._trail(places).entries() as row:
            problems = check(row, heads)
        found.append({"refused": refused, "grave": [p.message for p in problems if p.grave]})
    return found


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    audit.LIMITS = Limits(file=900, keep=3)
    what, where = sys.argv[1:]
    if what == "full":
        audit.LIMITS = Limits(file=6000, keep=5)
        json.dump(on_ever_fuller_disks(Path(where)), sys.stdout)
    else:
        stop_at(int(what.partition(":")[2]))
        record_all(Places(where))
