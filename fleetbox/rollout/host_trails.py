"""The audit trails of hosts, held against what the control machine has seen of them before.

Root on a host can write its trail anew, but not so that it still holds the records whose hashes are kept
here: each answer to a push carries the newest, and each `fleetbox audit verify` notes it again.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fleetbox.errors import ApplyFailed, ExitCode, TrustRefused, Unreachable
from fleetbox.hostside import chain
from fleetbox.hostside.chain import Entry, Head, Record
from fleetbox.hostside.chain_check import Counted, Problem, check
from fleetbox.rollout import calls
from fleetbox.rollout.answers import Failure
from fleetbox.rollout.audit import ACCEPTED
from fleetbox.transport import Transport

_ENTRIES_MAX = 500_000


class State(StrEnum):
    """What a host's trail turned out to be."""

    WHOLE = "whole"
    EMPTY = "empty"
    TAMPERED = "tampered"
    UNTRUSTED = "untrusted"
    FAILED = "failed"
    UNREACHABLE = "unreachable"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that found one host so and all others whole."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    State.WHOLE: ExitCode.OK,
    State.EMPTY: ExitCode.OK,
    State.TAMPERED: ExitCode.TRUST_REFUSED,
    State.UNTRUSTED: ExitCode.TRUST_REFUSED,
    State.FAILED: ExitCode.APPLY_FAILED,
    State.UNREACHABLE: ExitCode.UNREACHABLE,
}


@dataclass(frozen=True, kw_only=True)
class HostTrail:
    """One host's trail: its last record, how many known heads it was held against, what is wrong with it."""

    host: str
    state: State
    head: Head | None = None
    known: int = 0
    problems: tuple[Problem, ...] = ()
    message: str = ""
    hint: str = ""

    def describe(self) -> str:
        """One line, without the host's name."""
        where = f", ends with record {self.head.seq}" if self.head else ""
        return f"{self.state.value}{where}" + (f": {self.message}" if self.message else "")


def known_heads(row: Iterable[Entry]) -> dict[str, list[Head]]:
    """By host, the heads that its answers had, since its trail was last accepted as a new one."""
    heads: dict[str, list[Head]] = {}
    for record in row:
        host = record.fields.get("host") if isinstance(record, Record) else None
        if not isinstance(record, Record) or not isinstance(host, str):
            continue
        if record.event == ACCEPTED:
            heads.pop(host, None)
        elif head := _head(record.fields.get("audit")):
            heads.setdefault(host, []).append(head)
    return heads


def of_host(host: str, transport: Transport, known: Iterable[Head]) -> HostTrail:
    """Fetch the trail of a host and hold it against what is known of it."""
    heads, row = sorted(set(known)), Counted(fetch(transport))
    try:
        problems = tuple(check(row, heads))
    except _NoTrail as none:
        return HostTrail(host=host, state=State.FAILED, message=none.why.message, hint=none.why.hint)
    grave = [problem.message for problem in problems if problem.grave]
    state = State.TAMPERED if grave else State.WHOLE if row.head else State.EMPTY
    return HostTrail(
        host=host,
        state=state,
        head=row.head,
        known=len(heads),
        problems=problems,
        message=(grave or [problem.message for problem in problems] or [""])[0],
        hint=f"if the host was set up anew: fleetbox audit accept {host} --reason TEXT" if grave else "",
    )


def of_error(host: str, error: Exception) -> HostTrail:
    """A host that could not be asked."""
    state = State.FAILED
    if isinstance(error, Unreachable):
        state = State.UNREACHABLE
    elif isinstance(error, TrustRefused):
        state = State.UNTRUSTED
    known = isinstance(error, (Unreachable, TrustRefused, ApplyFailed))
    message = str(error) if known else f"{type(error).__name__}: {error}"
    return HostTrail(host=host, state=state, message=message, hint=getattr(error, "hint", ""))


class _NoTrail(Exception):
    """The host gives none, or what it gives is none."""

    def __init__(self, why: Failure) -> None:
        super().__init__(why.message)
        self.why = why


def fetch(transport: Transport) -> Iterator[Entry]:
    """The whole trail; of many hosts at once, so never more than a page of it is held. Raises `_NoTrail`."""
    since: int | None = 1
    count = 0
    while since is not None:
        page = calls.audit(transport, since)
        if isinstance(page, Failure):
            raise _NoTrail(page)
        count += len(page.entries)
        for said in page.entries:
            entry = chain.from_json(said)
            if entry is None:
                raise _nonsense("it holds something that is neither a record nor damage")
            yield entry
        if count > _ENTRIES_MAX or (page.next is not None and page.next <= since):
            raise _nonsense("it does not come to an end")
        since = page.next


def _nonsense(problem: str) -> _NoTrail:
    hint = "ansible-playbook site.yml installs the program again; if that does not help, distrust the host"
    what = f"the trail that the host sent is none: {problem}"
    return _NoTrail(Failure(code="bad_answer", message=what, hint=hint))


def _head(said: Any) -> Head | None:
    if not isinstance(said, Mapping) or said.keys() != {"seq", "hash"}:
        return None
    return Head(said["seq"], said["hash"]) if isinstance(said["seq"], int) else None
