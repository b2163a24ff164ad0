"""What time it is for a deadline that has to hold across suspend, reboot and a clock that is years off.

A deadline counts in seconds since boot, suspended ones included, of one boot. The wall clock is kept beside
it for people only: it may be wrong, and anybody may set it.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from fleetbox.hostside import paths
from fleetbox.hostside.paths import Places

# macOS has no such clock; there, time in sleep does not count.
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BOOT_ID_MAX = 64
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


class Now(NamedTuple):
    """`boot`: which boot this is, "" where nothing tells. `since_boot`: seconds. `wall`: UTC."""

    boot: str
    since_boot: float
    wall: str


def now(places: Places) -> Now:
    """This moment."""
    return Now(_boot(places), time.clock_gettime(_SINCE_BOOT), utc_now())


def utc_now() -> str:
    """The wall clock, `2026-11-22T02:00:00Z`."""
    return datetime.now(timezone.utc).strftime(_FORMAT)  # noqa: UP017  # Python 3.9 has no datetime.UTC


def later(wall: str, seconds: float) -> str:
    """A moment that many seconds after `wall`."""
    return (datetime.strptime(wall, _FORMAT) + timedelta(seconds=seconds)).strftime(_FORMAT)


def _boot(places: Places) -> str:
    try:
        with open(places.under(paths.BOOT_ID), encoding="ascii", errors="replace") as file:
            return file.read(_BOOT_ID_MAX).strip()
    except OSError:
        return ""
