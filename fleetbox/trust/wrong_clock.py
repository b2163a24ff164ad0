"""What to say where this machine's clock is behind what it has signed before.

Hosts judge by the newest signed time they have seen, so what is signed with an earlier one would have expired
for them: one push by a clock that is a month ahead would lock the fleet out for a month. `Authority.now` is
therefore never earlier than that time, and somebody must be told.
"""

from datetime import datetime, timedelta

from fleetbox.hostside import signed_time

TOLERANCE = timedelta(minutes=5)


def warning(clock: datetime, newest: datetime | None) -> str:
    """In words; "" where all is well."""
    if newest is None or newest - clock <= TOLERANCE:
        return ""
    return (
        f"this machine's clock says {signed_time.text(clock)}, and an assignment was signed here"
        f" with {signed_time.text(newest)}: the clock is {_shown(newest - clock)} behind now, or was ahead"
        " then. Compare date -u with another clock, and set it if it is wrong. Until it has passed that time,"
        " what is signed here is signed with that time: hosts take nothing older (docs/trust.md, Wrong clock)"
    )


def _shown(by: timedelta) -> str:
    minutes = int(by.total_seconds() // 60)
    for size, name in ((24 * 60, "day(s)"), (60, "hour(s)")):
        if minutes >= size:
            return f"{minutes // size} {name}"
    return f"{minutes} minute(s)"
