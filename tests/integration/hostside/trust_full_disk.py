"""Verifies on ever fuller disks. Run in a mount namespace of its own; prints what happened as JSON.

unshare --mount python -m tests.integration.hostside.trust_full_disk bytes|inodes ROOT
"""

import json
import sys
from pathlib import Path

from fleetbox.hostside import ustar
from fleetbox.hostside.errors import HostError
from tests.integration.hostside.full_disk import fill_bytes, fill_inodes, mount
from tests.support.signed import Fleet, TrustingHost


def main(what: str, root: Path) -> list[dict[str, object]]:
    fleet = Fleet()
    first = fleet.release(5)
    old = fleet.assign(first, 10)
    new = fleet.assign(fleet.release(6), 11)
    outcomes: list[dict[str, object]] = []
    for free in range(200):
        here = root / str(free)
        disk = here / "var/lib"
        host = TrustingHost(here, fleet)
        mount("-t", "tmpfs", "-o", "size=512k,nr_inodes=128", "none", at=disk)
        host.take(old)
        before = host.held()
        (fill_bytes if what == "bytes" else fill_inodes)(disk, free)
        outcome: dict[str, object] = {"error": None}
        try:
            host.take(new)
        except HostError as refused:
            outcome = {"error": refused.code, "exit": int(refused.exit_code)}
        after = host.held()
        outcome["generation"] = host.floor().generation
        outcome["whole"] = bool(ustar.read(after["trust/metadata.tar"]))
        outcome["leftovers"] = sorted(set(after) - set(before))
        outcomes.append(outcome)
        if outcome["error"] is None:
            return outcomes
    raise AssertionError("unreachable")


if __name__ == "__main__":
    json.dump(main(sys.argv[1], Path(sys.argv[2])), sys.stdout)
