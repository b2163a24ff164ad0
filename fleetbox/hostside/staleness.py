"""Whether what this host enforces is still vouched for: its signed files were good, and some are due by now.

A host keeps its policy when signatures run out; it never goes without one. This is how it says so.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple, Optional

from fleetbox.hostside import config, floor, metadata, release, signed_time
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import State, reading


class Staleness(NamedTuple):
    """`since`: when the first signature ran out, and `what` it was; None where none did.

    `verified`: False before anything was ever verified here. `too_long`: for more than `max_stale_days`.
    """

    verified: bool
    stale: bool
    since: Optional[str]
    what: Optional[str]
    too_long: bool


def staleness(places: Places, *, wall: datetime | None = None) -> Staleness:
    """Read from what is stored, without the lock. Raises `HostError` for a damaged floor or configuration."""
    with reading(places) as state:
        due = sorted(_due(state)) if state else []
        issued = floor.load(state).issued if state else ""
    if not due:
        return Staleness(verified=False, stale=False, since=None, what=None, too_long=False)
    since, what = due[0]
    now = signed_time.reference(wall or signed_time.now(), issued)
    stale = now >= since
    longest = config.load(places).max_stale_days
    return Staleness(
        verified=True,
        stale=stale,
        since=signed_time.text(since) if stale else None,
        what=what if stale else None,
        too_long=longest is not None and now >= since + timedelta(days=longest),
    )


def _due(state: State) -> list[tuple[datetime, str]]:
    return [
        (signed_time.parse(signed.expires), f"{repository}/{signed.name}")
        for repository in (release.POLICY_REPOSITORY, release.ASSIGNMENT_REPOSITORY)
        for signed in metadata.stored(state, repository)
    ]
