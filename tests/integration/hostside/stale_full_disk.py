"""Looks for due signatures on ever fuller disks. Run in a mount namespace of its own; prints JSON.

    unshare --mount python -m tests.integration.hostside.stale_full_disk first|second|littered WHAT ROOT

WHAT is bytes or inodes. The disk is full before the first look, before the second, or before the second of a
host with generations that nobody goes back to. After each run there is room again, and one more look.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.integration.hostside.full_disk import fill_bytes, fill_inodes, mount
from tests.integration.hostside.stale_host import HOURS, TOO_LATE, StaleHost
from tests.support.signed import Fleet

ATTEMPTS = 60


def template(root: Path, when: str) -> StaleHost:
    fleet = Fleet()
    host = StaleHost(root, fleet)
    if when == "littered":
        for number in range(2, 10):
            host.policy = fleet.release(4 + number)
            assert host.push(fleet.assign(host.policy, number)).code == 0
    if when != "first":
        host.look(TOO_LATE)
    return host


def looked(before: StaleHost, here: Path, when: str, what: str, free: int) -> dict[str, Any]:
    """On a copy with so much free."""
    disk = here / "var/lib"
    shutil.copytree(before.tree.root, here, symlinks=True, ignore=shutil.ignore_patterns("lib"))
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=768k,nr_inodes=256", "none", at=disk)
    shutil.copytree(before.state, disk / before.state.name, symlinks=True)
    host = StaleHost(here)
    (fill_bytes if what == "bytes" else fill_inodes)(disk, free)
    done = host.look(TOO_LATE, 0.0 if when == "first" else 1 * HOURS)
    outcome = {
        "code": done.code,
        "error": done.answer.get("error", {}).get("code"),
        "policy": host.tree.enforces(before.policy.built),
        "baseline": host.is_at_baseline(),
        "leftovers": host.tree.leftovers(),
    }
    for ballast in disk.glob("ballast*"):
        ballast.unlink()
    again = [host.look(TOO_LATE, hour * HOURS).code for hour in (2, 3)]
    return {**outcome, "again": again, "in_the_end": host.is_at_baseline()}


def main(when: str, what: str, root: Path) -> list[dict[str, Any]]:
    before = template(root / "template", when)
    outcomes = []
    for free in range(ATTEMPTS):
        outcomes.append(looked(before, root / str(free), when, what, free))
        if outcomes[-1]["code"] == 0:
            return outcomes
    raise AssertionError("unreachable")


if __name__ == "__main__":
    json.dump(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])), sys.stdout)
