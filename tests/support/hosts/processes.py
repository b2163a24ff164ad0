"""Processes by identity: a pid together with its start time.

A pid alone may belong to somebody else by the time a lab is swept; every signal of this package goes
through a pidfd that was compared with the recorded start time first.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    pid: int
    started: int
    """Start time in clock ticks since boot, field 22 of /proc/PID/stat."""

    @classmethod
    def of(cls, pid: int) -> Process:
        """Raise ProcessLookupError when there is no such process, a zombie included."""
        state, started = _stat(pid)
        if state == "Z":
            raise ProcessLookupError(f"process {pid} has ended")
        return cls(pid, started)

    @classmethod
    def read(cls, file: Path) -> Process | None:
        """The process recorded by `write`, or None where nothing (whole) was recorded."""
        try:
            pid, started = file.read_text().split()
            return cls(int(pid), int(started))
        except (FileNotFoundError, ValueError):
            return None

    def write(self, file: Path) -> None:
        file.write_text(f"{self.pid} {self.started}\n")

    def alive(self) -> bool:
        try:
            return Process.of(self.pid) == self
        except ProcessLookupError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if this very process still runs."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive():
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)

    def wait(self, timeout: float) -> bool:
        """Whether the process ended within `timeout` seconds; it need not be our child."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.alive():
                return True
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            return bool(poll.poll(timeout * 1000))
        finally:
            os.close(handle)


def everyone() -> Iterator[Process]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                yield Process.of(int(entry))
            except ProcessLookupError:
                continue


def _stat(pid: int) -> tuple[str, int]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(f"no process {pid}") from error
    # The second field is the command name in parentheses and may itself hold spaces and parentheses.
    rest = text.rpartition(")")[2].split()
    return rest[0], int(rest[19])
