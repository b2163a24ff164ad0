"""What time it is for what was signed: never earlier than the newest signed time this host has seen.

A clock that was set back by years, or a board without a battery, would take expired files for good ones.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

_UTC = timezone.utc  # noqa: UP017  # Python 3.9 has no datetime.UTC
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def now() -> datetime:
    """This host's clock."""
    return datetime.now(_UTC)


def parse(text: str) -> datetime:
    """`2026-11-22T02:00:00Z` as a time. Raises ValueError."""
    return datetime.strptime(text, _FORMAT).replace(tzinfo=_UTC)


def text(time: datetime) -> str:
    """The same the other way."""
    return time.astimezone(_UTC).strftime(_FORMAT)


def reference(wall: datetime, issued: str) -> datetime:
    """The time to judge expiry by: the clock's, or that of the newest signed file where that is later."""
    return max(wall, parse(issued)) if issued else wall


def after(time: datetime, passed: timedelta) -> datetime:
    """A time so much later; the last one there is where there is none, as for what never expires."""
    try:
        return time + passed
    except OverflowError:
        return datetime.max.replace(tzinfo=_UTC)
