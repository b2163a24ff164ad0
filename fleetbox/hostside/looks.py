"""What the looks for due signatures remember from one to the next: how long this host has run, at least.

A clock may be wrong, and whoever feeds it may want it to be. So what it says is held against the time that
this host has run, sleep included, which nobody can set. It cannot be earlier than the newest signed time and
the time run since the newest signatures came. And that signatures have been due for too long is noticed
first, and believed when a look after `BELIEVED_AFTER_S` more of running finds the same, and none between
found otherwise.

Lost or damaged, the count begins anew, and what was noticed has to be noticed again.
"""

from __future__ import annotations

import json
import math
import os
from datetime import timedelta
from typing import Any, NamedTuple

from fleetbox.hostside import clock, metadata, paths, signed_time, small_file
from fleetbox.hostside.clock import Now
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import State

BELIEVED_AFTER_S = 3600.0
_NAME = os.path.basename(paths.LOOKS)
_SCHEMA_VERSION = 1
_RUN_MAX = 100 * 365 * 86400.0


class Looks(NamedTuple):
    """`ran`: seconds that this host has run since the newest signatures came, and none too many; counted
    until second `since_boot` of boot `boot`. `signed` says which these were.

    `due`: what had run out for too long by the last look, "" for nothing. `noticed`: the `ran` of the first
    look in a row that said so; `noticed_at`: the clock's time then, for people.
    """

    signed: str
    boot: str
    since_boot: float
    ran: float
    due: str = ""
    noticed: float = 0.0
    noticed_at: str = ""

    def counted(self, signed: str, now: Now) -> Looks:
        """Counted up to `now`; from the beginning where there are newer signatures."""
        if signed != self.signed:
            return first(signed, now)
        same_boot = now.boot == self.boot and now.since_boot >= self.since_boot
        more = now.since_boot - self.since_boot if same_boot else now.since_boot
        return self._replace(boot=now.boot, since_boot=now.since_boot, ran=min(self.ran + more, _RUN_MAX))

    def noticing(self, due: str, wall: str) -> Looks:
        """After a look by which `due` ran out too long ago; "" for nothing."""
        if due == self.due:
            return self
        return self._replace(due=due, noticed=self.ran, noticed_at=wall if due else "")

    def left_s(self, due: str) -> float:
        """Seconds until it is believed that `due` ran out too long ago; 0.0 when it is."""
        ran = self.ran - self.noticed if due == self.due else 0.0
        return max(0.0, BELIEVED_AFTER_S - ran)


def first(signed: str, now: Now) -> Looks:
    """Where nothing was counted yet."""
    return Looks(signed, now.boot, now.since_boot, 0.0)


def upto_now(places: Places, state: State, issued: str) -> Looks:
    """What was remembered, counted up to now; `issued` is the newest signed time. Changes nothing."""
    now, before = clock.now(places), read(state)
    # Not the time alone: a control machine whose clock was ahead once says the same one for long.
    signed = " ".join([issued, *map(str, metadata.versions(state))])
    return before.counted(signed, now) if before else first(signed, now)


def at_least(places: Places, state: State, issued: str) -> str:
    """The earliest that it can be by now, as a signed time is written; "" where no signed time was seen."""
    if not issued:
        return ""
    ran = timedelta(seconds=math.floor(upto_now(places, state, issued).ran))
    return signed_time.text(signed_time.after(signed_time.parse(issued), ran))


def read(state: State) -> Looks | None:
    """None where there is nothing that can be read. Raises `HostError` `unsafe_state`."""
    data = small_file.read(state, _NAME)
    try:
        return _decode(data) if data else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def write(state: State, looks: Looks) -> None:
    """Remember them, durably. Raises `HostError`."""
    small_file.write(state, _NAME, {"schema_version": _SCHEMA_VERSION, **looks._asdict()})


def _decode(data: bytes) -> Looks:
    fields: dict[str, Any] = json.loads(data)
    if fields.pop("schema_version") != _SCHEMA_VERSION:
        raise ValueError("its version is unknown")
    for name in ("signed", "boot", "due", "noticed_at"):
        if not isinstance(fields[name], str):
            raise ValueError(f"{name} is not text")
    for name in ("since_boot", "ran", "noticed"):
        if not isinstance(fields[name], float) or not 0 <= fields[name] <= _RUN_MAX:
            raise ValueError(f"{name} is not a number of seconds")
    return Looks(**fields)
