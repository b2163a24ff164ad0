"""A host that takes what is signed, and a time of its own: what it looks at is years away in a moment."""

import json
from datetime import datetime, timedelta
from pathlib import Path

from fleetbox.hostside import delivery, paths, signed_time
from fleetbox.hostside.delivery import Delivery
from tests.integration.hostside.host import Ended, HostTree
from tests.support.bundles import Built
from tests.support.signed import NOW, Fleet, TrustingHost

DAYS = timedelta(days=1)
MINUTES = 60.0
HOURS = 3600.0
BOOTED = 1000.0
# What `Fleet` signs holds for seven days, and hosts here keep it for three more.
RAN_OUT = NOW + 7 * DAYS
TOO_LATE = NOW + 10 * DAYS
YEARS_AHEAD = NOW + 4000 * DAYS
TERMS = ("--confirm-within", "100000")


class StaleHost:
    """`tree` is asked as by a push or the timer; it enforces release 5 of `fleet`, confirmed."""

    def __init__(self, root: Path, fleet: Fleet | None = None, *, max_stale_days: int | None = 3) -> None:
        """Without a fleet, `root` is one already, such as a copy."""
        if fleet:
            TrustingHost(root, fleet, max_stale_days=max_stale_days)
        self.tree = HostTree(root)
        self.state = self.tree.state
        if fleet:
            self.tree.boot("first")
            self.policy = fleet.release(5)
            assert self.push(fleet.assign(self.policy, 1)).code == 0
            assert self.tree.enforces(self.policy.built)

    def push(self, sent: Delivery, *terms: str, wall: datetime = NOW, ran: float = 0.0) -> Ended:
        words = ("activate", "--delivery", "-", *terms)
        return self.tree.run(*words, stdin=delivery.write(sent), at=moment(wall, ran))

    def look(self, wall: datetime, ran: float = 0.0, *, stop: str = "none") -> Ended:
        """What the timer starts, `ran` seconds after the push."""
        return self.tree.run("stale", at=moment(wall, ran), stop=stop)

    def status(self, wall: datetime = TOO_LATE, ran: float = 0.0) -> dict[str, object]:
        return self.tree.run("status", at=moment(wall, ran)).answer

    def events(self) -> list[str]:
        """What the trail has, read from its files."""
        trail = sorted((self.tree.root / paths.AUDIT.lstrip("/")).glob("*.jsonl"))
        return [json.loads(line)["event"] for file in trail for line in file.read_text().splitlines()]

    @property
    def baseline(self) -> Built:
        return self.tree.fall_back_to()

    def is_at_baseline(self) -> bool:
        return self.tree.enforces(self.baseline)


def moment(wall: datetime, ran: float) -> str:
    return f"{signed_time.text(wall)} {BOOTED + ran}"
