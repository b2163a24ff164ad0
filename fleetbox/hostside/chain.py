"""The chain: what one record of an audit trail looks like, and how the next one follows.

A record is one line, JSON in one encoding (sorted keys, no spaces, ASCII), so that its bytes and its meaning
cannot differ. `seq` counts from 1 without a gap, `prev` is the `hash` of the record before, `hash` the
SHA-256 of the record without that field. So a changed, missing, added or moved record shows by itself. A cut
at the end shows only to who knows a later head, which is why heads are kept elsewhere (docs/audit.md).

Nothing is ever taken away: what a power cut left of a line stays, and the next record, `log_repaired`, says
its size and digest. Where old files go, `log_rotated` says with which record the trail begins from then on.
Hosts and control machine write and read by this one module.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Union

SCHEMA_VERSION = 1
LINE_LIMIT = 1024 * 1024  # bytes of a record
BEGINNING = "0" * 64  # what the first record follows
REPAIRED = "log_repaired"
ROTATED = "log_rotated"

EVENT = re.compile(r"[a-z][a-z0-9_]{0,63}")
HASH = re.compile(r"[0-9a-f]{64}")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_OWN = frozenset(["schema_version", "seq", "time", "event", "prev", "hash"])
_SEQ_MAX = 10**15


class Head(NamedTuple):
    """A record by its number and hash; that of the last one stands for the whole trail before it."""

    seq: int
    hash: str


class Record(NamedTuple):
    """One event. `time` is UTC, `2026-11-22T02:00:00Z`, by the clock of who wrote it."""

    seq: int
    time: str
    event: str
    fields: Mapping[str, Any]
    prev: str
    hash: str

    @property
    def head(self) -> Head:
        """What to keep in order to know this record again."""
        return Head(self.seq, self.hash)


class Damage(NamedTuple):
    """Bytes between records, or after the last, that are no record. `torn`: a write that did not finish."""

    size: int
    sha256: str
    torn: bool

    def noted(self) -> dict[str, Any]:
        """As `log_repaired` keeps it."""
        return {"bytes": self.size, "sha256": self.sha256}


Entry = Union[Record, Damage]


def next_record(last: Head | None, time: str, event: str, fields: Mapping[str, Any]) -> Record:
    """The record that follows `last`, or the first. Raises ValueError for what no record may be."""
    if not EVENT.fullmatch(event) or not TIME.fullmatch(time) or _OWN & fields.keys():
        raise ValueError(f"no event of a trail: {event!r} at {time!r} with {sorted(fields)}")
    seq, prev = (last.seq + 1, last.hash) if last else (1, BEGINNING)
    bare = Record(seq, time, event, dict(fields), prev, "")
    record = bare._replace(hash=_hash(as_json(bare)))
    if decode(encode(record)) != record:
        raise ValueError(f"event {event!r} is too large, or has a field that JSON gives back differently")
    return record


def as_json(record: Record) -> dict[str, Any]:
    """The record as one object."""
    named = {name: value for name, value in record._asdict().items() if name != "fields"}
    return {"schema_version": SCHEMA_VERSION, **record.fields, **named}


def encode(record: Record) -> bytes:
    """The record as its line."""
    return _canonical(as_json(record)) + b"\n"


def decode(line: bytes) -> Record | None:
    """The record that `line` is, with or without its newline; None when it is not exactly one."""
    line = line[:-1] if line.endswith(b"\n") else line
    try:
        found = json.loads(line) if len(line) < LINE_LIMIT else None
        return _as_record(found) if isinstance(found, dict) and _canonical(found) == line else None
    except (ValueError, RecursionError):
        return None


def from_json(found: object) -> Entry | None:
    """An entry as a host's answer holds it: a record, or `{"damaged": {...}}`. None for anything else."""
    if not isinstance(found, dict):
        return None
    try:
        return _as_damage(found["damaged"]) if found.keys() == {"damaged"} else decode(_canonical(found))
    except (TypeError, ValueError, RecursionError):
        return None


def entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Records of these lines, which keep their newlines; what lies between two of them is one `Damage`."""
    damaged: list[bytes] = []
    for line in lines:
        record = decode(line)
        if record is None:
            damaged.append(line)
            continue
        if damaged:
            yield damage(damaged)
            damaged = []
        yield record
    if damaged:
        yield damage(damaged)


def damage(lines: Iterable[bytes]) -> Damage:
    """These lines as what they are: part of a JSON object is never JSON, so whole ones were not torn."""
    held = list(lines)
    data = b"".join(held)
    return Damage(len(data), hashlib.sha256(data).hexdigest(), not any(map(_is_json, held)))


def _as_record(found: dict[str, Any]) -> Record | None:
    """A record whose own fields are of their kinds and whose hash is right."""
    texts = {"time": TIME, "event": EVENT, "prev": HASH, "hash": HASH}
    seq = found.get("seq")
    if not all(type(number) is int for number in (seq, found.get("schema_version"))):
        return None
    if found["schema_version"] != SCHEMA_VERSION or not 1 <= found["seq"] <= _SEQ_MAX:
        return None
    if not all(
        isinstance(found.get(name), str) and form.fullmatch(found[name]) for name, form in texts.items()
    ):
        return None
    fields = {name: value for name, value in found.items() if name not in _OWN}
    record = Record(found["seq"], found["time"], found["event"], fields, found["prev"], found["hash"])
    return record if _hash(found) == record.hash else None


def _as_damage(noted: Any) -> Damage | None:
    if not isinstance(noted, dict) or noted.keys() != {"bytes", "sha256", "torn"}:
        return None
    size, sha256, torn = noted["bytes"], noted["sha256"], noted["torn"]
    right = type(size) is int and size > 0 and isinstance(sha256, str) and HASH.fullmatch(sha256)
    return Damage(size, sha256, torn) if right and isinstance(torn, bool) else None


def _hash(record: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in record.items() if name != "hash"}
    return hashlib.sha256(_canonical(rest)).hexdigest()


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True
