"""Collecting what a command writes, with a limit on each stream and one on time.

The limits are enforced while reading: a host that never stops talking costs the limit, not the memory.
"""

import time

from fleetbox.errors import ApplyFailed
from fleetbox.transport.interface import STDERR_LIMIT, STDOUT_LIMIT

CHUNK = 64 * 1024


class Deadline:
    """A moment after which waiting is over, by the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, above 0. Raises ApplyFailed when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise ApplyFailed(
                f"no answer within {self._seconds:g} s; what the command did is not known",
                hint="fleetbox doctor HOST says what the host has now",
            )
        return left


class Output:
    """What arrived so far on both streams."""

    def __init__(self) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()

    def take_stdout(self, data: bytes) -> None:
        _append(self.stdout, data, STDOUT_LIMIT)

    def take_stderr(self, data: bytes) -> None:
        _append(self.stderr, data, STDERR_LIMIT)


def _append(buffer: bytearray, data: bytes, limit: int) -> None:
    buffer += data
    if len(buffer) > limit:
        raise ApplyFailed(f"the host sent more than {limit // 1024} KiB; the connection was cut")
