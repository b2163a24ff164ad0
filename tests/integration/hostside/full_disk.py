"""Activates a bundle on ever fuller disks. Run in a mount namespace of its own; prints what happened as JSON.

    unshare --mount python -m tests.integration.hostside.full_disk bytes|inodes|readonly|while-checking ROOT

A small tmpfs is the state directory's disk. For each amount of free space from none upwards it holds an old
generation, is filled up to that amount, and gets a new one: so every write of an activation runs out once.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.hostside.host import HostTree
from tests.support import bundles

PAGE = 4096
PAGES = 64
INODES = 64
ATTEMPTS = 24


def mount(*options: str, at: Path) -> None:
    subprocess.run(["mount", *options, str(at)], check=True)


def fresh(root: Path) -> Iterator[HostTree]:
    """Hosts whose disk is empty."""
    disk = root / "var/lib"
    disk.mkdir(parents=True)
    while True:
        mount("-t", "tmpfs", "-o", f"size={PAGES * PAGE},nr_inodes={INODES}", "none", at=disk)
        yield HostTree(root)
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill_bytes(disk: Path, free: int) -> None:
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(PAGE))
        except OSError:
            ballast.truncate(max(0, ballast.tell() - free * PAGE))


def fill_inodes(disk: Path, free: int) -> None:
    left = os.statvfs(disk).f_ffree
    for number in range(left - free):
        (disk / f"ballast{number}").touch()


def main(what: str, root: Path) -> list[dict[str, Any]]:
    old, new = bundles.build("old"), bundles.build("new", ("second",))
    outcomes = []
    for free, host in enumerate(fresh(root)):
        assert host.activate(old).code == 0
        if what == "readonly":
            mount("-o", "remount,ro", at=host.state.parent)
        elif what == "bytes":
            fill_bytes(host.state.parent, free)
        elif what == "inodes":
            fill_inodes(host.state.parent, free)
        done = host.activate(new, smoke=f"fill:{host.state.parent}" if what == "while-checking" else "pass")
        outcomes.append(
            {
                "code": done.code,
                "error": done.answer.get("error", {}).get("code"),
                "old": host.enforces(old),
                "new": host.enforces(new),
                "leftovers": host.leftovers(),
                "numbers": host.numbers(),
            }
        )
        if done.code == 0 or free == ATTEMPTS or what in ("readonly", "while-checking"):
            return outcomes
    raise AssertionError("unreachable")


if __name__ == "__main__":
    json.dump(main(sys.argv[1], Path(sys.argv[2])), sys.stdout)
