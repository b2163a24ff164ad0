"""Runs a verb on ever emptier disks. Run in a mount namespace of its own; prints what happened as JSON.

    unshare --mount python -m tests.integration.hostside.full_disk VERB WHAT ROOT

WHAT is bytes, inodes, readonly or while-checking.

A small tmpfs is the state directory's disk. For each amount of free space from none upwards it holds what the
verb is about, is filled up to that amount, and the verb runs: so every write of it runs out once.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration.hostside.host import HostTree
from tests.support import bundles
from tests.support.bundles import Built

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


class Case(NamedTuple):
    """What a verb is about: what is current before it, and after it."""

    words: tuple[str, ...]
    before: Built
    after: Built
    stdin: bytes = b""


def prepared(verb: str, host: HostTree) -> Case:
    """Bring the host, which is empty, to where the verb has something to do."""
    old, new = bundles.build("old"), bundles.build("new", ("second",))
    host.boot("first")
    known = ("--not-narrower-than", old.digest, "--not-narrower-than", new.digest)
    assert host.activate(old).code == 0
    if verb == "activate":
        return Case(("activate", new.digest, "--bundle", "-", *known), old, new, new.tar)
    if verb == "rollback":
        assert host.activate(new).code == 0
        return Case(("rollback", *known), new, old)
    if verb == "gc":
        for built in (new, old, new):
            assert host.activate(built).code == 0
        return Case(("gc", "--keep", "2"), new, new)
    answer = host.activate(new, "--confirm-within", "1000").answer
    if verb == "confirm":
        return Case(("confirm", str(answer["generation"]), answer["pending"]["nonce"]), new, new)
    assert host.run("gc").code == 0  # another verb has come in between
    host.boot("second")
    return Case(("watchdog", "--once"), new, old)


def main(verb: str, what: str, root: Path) -> list[dict[str, Any]]:
    outcomes = []
    for free, host in enumerate(fresh(root)):
        case = prepared(verb, host)
        disk = host.state.parent
        if what == "readonly":
            mount("-o", "remount,ro", at=disk)
        elif what == "bytes":
            fill_bytes(disk, free)
        elif what == "inodes":
            fill_inodes(disk, free)
        smoke = f"fill:{disk}" if what == "while-checking" else "pass"
        done = host.run(*case.words, stdin=case.stdin, smoke=smoke)
        outcomes.append(
            {
                "code": done.code,
                "error": done.answer.get("error", {}).get("code"),
                "before": host.enforces(case.before),
                "after": host.enforces(case.after),
                "leftovers": host.leftovers(),
                "numbers": host.numbers(),
                "on_trial": (host.state / "pending.json").exists(),
            }
        )
        if done.code == 0 or free == ATTEMPTS or what in ("readonly", "while-checking"):
            return outcomes
    raise AssertionError("unreachable")


if __name__ == "__main__":
    json.dump(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])), sys.stdout)
