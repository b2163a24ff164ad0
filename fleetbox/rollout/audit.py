"""The audit trail of the control machine: who did what to which hosts, and what each of them answered.

The journal beside it is what commands work with; this is what they leave behind. The same chain as on hosts,
`<state_dir>/audit`, private to who pushes, and no part of it is ever thrown away. A command is recorded as
begun before a host is contacted, and not started where that cannot be; each answer when it comes; its end
last. One that was killed leaves a beginning without an end.
"""

import os
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import Any

from fleetbox import __version__
from fleetbox.errors import ExitCode, UsageError, worst
from fleetbox.hostside.chain import Entry, Head, Record
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.trail import Limits, Trail
from fleetbox.rollout.journal import caller
from fleetbox.rollout.outcome import HostOutcome

_LIMITS = Limits(file=16 * 1024 * 1024, keep=None)
_NAMES_MAX = 256 * 1024  # characters of host names at the beginning; those of more are in the answers
_TEXT_MAX = 2000
SEEN = "host_trail_seen"
ACCEPTED = "host_trail_accepted"


class AuditTrail:
    """Opened on a state directory, which is made at the first record. Safe to use from threads."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self.path = state_dir / "audit"
        self._trail = Trail(str(self.path), _LIMITS, directory_mode=0o700, file_mode=0o600)

    def record(self, event: str, **fields: Any) -> Head:
        """Write one record, durably. Raises UsageError where that cannot be."""
        with _usable(self.path):
            self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._trail.append(event, {name: _cut(value) for name, value in fields.items()})

    def begin(self, verb: str, hosts: Sequence[str], **what: Any) -> "Command":
        """Record that a command begins: who, from where, `what`, to which hosts. Raises UsageError."""
        named = {"hosts": _first(hosts), "count": len(hosts)}
        return Command(self, verb, self.record(f"{verb}_begun", **who(), **named, **what).seq)

    def head(self) -> Head | None:
        """The last record. Raises UsageError where the trail cannot be read."""
        with _usable(self.path):
            return self._trail.head()

    @contextmanager
    def entries(self) -> Iterator[Iterator[Entry]]:
        """Everything that is there, in order. Raises UsageError where it cannot be read."""
        with _usable(self.path), self._trail.entries() as row:
            yield row


class Command:
    """A command that was begun. What cannot be recorded from then on stops nothing: hosts have changed."""

    def __init__(self, trail: AuditTrail, verb: str, begun: int) -> None:
        self._trail = trail
        self._verb = verb
        self._begun = begun
        self._lock = threading.Lock()
        self._lost = 0
        self._problem = ""

    def answered(self, outcome: HostOutcome) -> None:
        """Record how it ended on one host."""
        said = {name: value for name, value in asdict(outcome).items() if name != "hint"}
        self._record("answered", **said)

    def end(self, exit_code: ExitCode) -> ExitCode:
        """Record the end; `INTERNAL` where the trail is not complete, if nothing is worse."""
        self._record("ended", exit_code=int(exit_code))
        return worst([exit_code, ExitCode.INTERNAL]) if self._lost else exit_code

    @property
    def problem(self) -> str:
        """Why some of it could not be recorded; "" where all was."""
        return f"{self._lost} record(s) are missing in the audit trail: {self._problem}" if self._lost else ""

    def _record(self, what: str, **fields: Any) -> None:
        try:
            self._trail.record(f"{self._verb}_{what}", begun=self._begun, **fields)
        except UsageError as problem:
            with self._lock:
                self._lost += 1
                self._problem = problem.message


def unended(records: Iterable[Record]) -> set[int]:
    """The numbers of the beginnings that no end belongs to: those commands run still, or were killed."""
    begun: set[int] = set()
    for record in records:
        of = record.fields.get("begun")
        if record.event.endswith("_begun"):
            begun.add(record.seq)
        elif record.event.endswith("_ended") and isinstance(of, int):
            begun.discard(of)
    return begun


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    try:
        yield
    except HostError as problem:
        raise UsageError(f"the audit trail: {problem.message}", hint=problem.hint) from problem
    except OSError as problem:
        raise UsageError(
            f"the audit trail {path} cannot be used: {problem}", hint="choose another place with --state-dir"
        ) from problem


def _cut(value: Any) -> Any:
    return value[:_TEXT_MAX] if isinstance(value, str) else value


def _first(hosts: Sequence[str]) -> list[str]:
    """As many names as fit into a record."""
    lengths = accumulate(len(host) for host in hosts)
    return [host for host, length in zip(hosts, lengths, strict=True) if length <= _NAMES_MAX]


def who() -> dict[str, Any]:
    """The person, and where the command runs; of an ssh login also where that came from."""
    came_from = os.environ.get("SSH_CONNECTION", "").split()[:1]
    return {
        "by": caller(),
        "at": socket.gethostname(),
        "came_from": came_from[0] if came_from else None,
        "pid": os.getpid(),
        "fleetbox": __version__,
    }
