"""Whether what this host enforces is still vouched for: its signed files were good, and some are due by now.

A host keeps its policy when signatures run out; it never goes without one. This is how it says so; `stale`
has what it does when that has lasted for too long.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple, Optional

from fleetbox.hostside import config, floor, looks, metadata, paths, release, signed_time
from fleetbox.hostside.floor import Floor
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import State, reading


class Staleness(NamedTuple):
    """`since`: when the first signature ran out, and `what` it was; None where none did.

    `verified`: False before anything was ever verified here. `too_long`: for more than `max_stale_days`.
    `by_clock`: it is so by this host's clock alone; False where it is so whatever the clock says.
    """

    verified: bool
    stale: bool
    since: Optional[str]
    what: Optional[str]
    too_long: bool
    by_clock: bool = False


_NOTHING = Staleness(verified=False, stale=False, since=None, what=None, too_long=False)


def staleness(places: Places, *, wall: datetime | None = None) -> Staleness:
    """Read from what is stored, without the lock. Raises `HostError` for a damaged floor or configuration."""
    with reading(places) as state:
        return of(places, state, wall=wall) if state else _NOTHING


def of(places: Places, state: State, *, wall: datetime | None = None) -> Staleness:
    """The same of a state directory that is open."""
    low = floor.load(state)
    due = sorted(_due(state, low))
    if not due:
        return _NOTHING
    since, what = due[0]
    at_least = looks.at_least(places, state, low.issued)
    now = signed_time.reference(wall or signed_time.now(), at_least)
    stale = now >= since
    longest = config.load(places).max_stale_days
    end = None if longest is None else signed_time.after(since, timedelta(days=longest))
    too_long = end is not None and now >= end
    return Staleness(
        verified=True,
        stale=stale,
        since=signed_time.text(since) if stale else None,
        what=what if stale else None,
        too_long=too_long,
        by_clock=too_long and not (end and at_least and signed_time.parse(at_least) >= end),
    )


def _due(state: State, low: Floor) -> list[tuple[datetime, str]]:
    found = [
        (signed_time.parse(signed.expires), f"{repository}/{signed.name}")
        for repository in (release.POLICY_REPOSITORY, release.ASSIGNMENT_REPOSITORY)
        for signed in metadata.stored(state, repository)
    ]
    if not found and low.issued:
        # The files are lost, and nothing here vouches for the policy any more.
        return [(signed_time.parse(low.issued), paths.TRUST_METADATA)]
    return found
