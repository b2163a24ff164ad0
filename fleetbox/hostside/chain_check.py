"""What is wrong with a trail: pure, over entries that were read here or came in a host's answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from fleetbox.hostside.chain import BEGINNING, REPAIRED, ROTATED, Damage, Entry, Head, Record


class Problem(NamedTuple):
    """What a reader found. `grave`: nothing but a change from outside explains it."""

    code: str
    message: str
    grave: bool = True


class Counted:
    """A row that knows, once it was gone through, how much it held, and the `head` of its last record."""

    def __init__(self, row: Iterable[Entry]) -> None:
        self._row = row
        self.records = 0
        self.damages = 0
        self.head: Head | None = None

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._row:
            if isinstance(entry, Damage):
                self.damages += 1
            else:
                self.records += 1
                self.head = entry.head
            yield entry


def check(row: Iterable[Entry], known: Iterable[Head] = ()) -> list[Problem]:
    """What is wrong with a trail, all of it. `known` are heads that it once had.

    A known head from before the trail's beginning may have gone with an old file; the newest may not: what
    begins after everything that is known of it could be anything.
    """
    problems: list[Problem] = []
    hashes: dict[int, str] = {}
    first: Record | None = None
    last: Record | None = None
    pending: Damage | None = None
    oldest = 1
    for entry in row:
        if isinstance(entry, Damage):
            pending = entry
            continue
        problems += _damage_before(entry, last, pending)
        problems += _link(last, entry) if last else []
        first, last, pending = first or entry, entry, None
        oldest = _oldest(entry, oldest)
        hashes[entry.seq] = entry.hash
    if pending:
        problems.append(_unfinished(pending, last))
    if first:
        problems += _start(first, oldest)
        hashes.setdefault(first.seq - 1, first.prev)
    return problems + _against(known, hashes, first, last)


def _damage_before(record: Record, last: Record | None, found: Damage | None) -> list[Problem]:
    """Torn bytes are explained by the record that follows them; whole lines that are none by nothing."""
    where = f"before record {record.seq}"
    noted = record.fields.get("damaged") if record.event == REPAIRED else None
    if found is None:
        missing = f"the damaged bytes {where} that it describes are not there"
        return [Problem("missing", missing)] if record.event == REPAIRED else []
    if not found.torn or noted != found.noted():
        return [Problem("changed", f"{where}: {found.size} bytes that are no record as it was written")]
    words = f"{where}: {found.size} bytes of a record whose writing did not finish, as was noted then"
    return [Problem("torn", words, grave=False)]


def _unfinished(found: Damage, last: Record | None) -> Problem:
    where = f"after record {last.seq}" if last else "at the beginning"
    if not found.torn:
        return Problem("changed", f"{where}: {found.size} bytes that are no record as it was written")
    return Problem("torn", f"{where}: {found.size} bytes of a record that was never finished", grave=False)


def _link(last: Record, record: Record) -> list[Problem]:
    if record.seq > last.seq + 1:
        gap = f"{last.seq + 1} to {record.seq - 1}" if record.seq > last.seq + 2 else f"{last.seq + 1}"
        return [Problem("missing", f"missing: record {gap}")]
    if record.seq <= last.seq:
        return [Problem("order", f"record {record.seq} stands after record {last.seq}")]
    if record.prev != last.hash:
        return [
            Problem(
                "changed", f"record {record.seq} was not written after the record {last.seq} that is there"
            )
        ]
    return []


def _oldest(record: Record, oldest: int) -> int:
    """With which record the trail may begin; whatever says so is itself part of the chain."""
    said = record.fields.get("oldest") if record.event == ROTATED else None
    return max(oldest, said) if isinstance(said, int) else oldest


def _start(first: Record, oldest: int) -> list[Problem]:
    if first.seq > oldest:
        return [Problem("cut_at_start", f"begins with record {first.seq}, and has to begin with {oldest}")]
    if first.seq == 1 and first.prev != BEGINNING:
        return [Problem("changed", "record 1 was written after another one, which is not there")]
    return []


def _against(
    known: Iterable[Head], hashes: Mapping[int, str], first: Record | None, last: Record | None
) -> list[Problem]:
    end = last.seq if last else 0
    heads = sorted(set(known))
    cut = [head for head in heads if head.seq > max([end, *hashes])]
    gone = first is not None and heads and heads[-1].seq < min(hashes)
    problems = [
        Problem("rewritten", f"record {head.seq} is not the one that was there: its hash was {head.hash}")
        for head in heads
        if hashes.get(head.seq, head.hash) != head.hash
    ]
    if first and gone:
        known_end = f"the last one known, {heads[-1].seq}"
        problems.append(Problem("cut_at_start", f"begins with record {first.seq}, after {known_end}"))
    if cut:
        until = f"ends with record {end}" if first else "holds no record"
        problems.append(Problem("cut_at_end", f"{until}, and had a record {cut[-1].seq} before"))
    return problems
