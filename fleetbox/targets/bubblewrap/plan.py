"""The launch plan's bytes, format 1: the compiler writes them, the launcher obeys them (docs/launch-plan.md).

A header with magic, format, length and checksum, then NUL-separated records, the last one `end`. `decode`
is as strict as the launcher, so that what it reads back is what the launcher would do.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import fields

from fleetbox.targets.bubblewrap.operation import Operation, PlanInvalid
from fleetbox.targets.bubblewrap.operations import HEAD, REPEATED

BYTES_LIMIT = 256 * 1024
RECORDS_LIMIT = 4000  # `end` included

_MAGIC = b"fleetbox-launch-plan"
_FORMAT = b"1"
_HEADER = re.compile(rb"%s\x00%s\x00(0|[1-9][0-9]{0,6})\x00([0-9a-f]{8})\x00" % (_MAGIC, _FORMAT))
_END = "end"
_KINDS: dict[str, type[Operation]] = {kind.op: kind for kind in (*HEAD, *REPEATED)}


def encode(operations: Sequence[Operation]) -> bytes:
    """Raises PlanInvalid for an order or a size that the launcher refuses."""
    _check_order(operations)
    records = ["\0".join((operation.op, *operation.arguments(), "")) for operation in operations]
    payload = "".join([*records, f"{_END}\0"]).encode()
    header = b"\0".join((_MAGIC, _FORMAT, b"%d" % len(payload), _checksum(payload), b""))
    _check_size(header + payload)
    return header + payload


def decode(data: bytes) -> tuple[Operation, ...]:
    """Raises PlanInvalid for anything that `encode` would not have written."""
    _check_size(data)
    header = _HEADER.match(data)
    if header is None:
        raise PlanInvalid("no header of a launch plan of format 1")
    payload = data[header.end() :]
    if len(payload) != int(header[1]) or _checksum(payload) != header[2]:
        raise PlanInvalid("length or checksum does not match: the launch plan is truncated or damaged")
    try:
        words = payload.decode().split("\0")
    except UnicodeDecodeError as error:
        raise PlanInvalid("the launch plan is not UTF-8") from error
    operations = tuple(_records(words))
    _check_order(operations)
    return operations


def describe(operations: Sequence[Operation]) -> str:
    """The operations in words, one a line."""
    return "".join(f"{operation.describe()}\n" for operation in operations)


def _checksum(payload: bytes) -> bytes:
    return b"%08x" % zlib.crc32(payload)


def _records(words: Sequence[str]) -> Iterator[Operation]:
    if words[-2:] != [_END, ""]:
        raise PlanInvalid("the last record is not `end`")
    at, end = 0, len(words) - 2
    while at < end:
        kind = _KINDS.get(words[at])
        if kind is None:
            raise PlanInvalid(f"unknown operation {words[at]!r}")
        after = at + 1 + len(fields(kind))
        if after > end:
            raise PlanInvalid(f"{kind.op}: arguments are missing")
        yield kind(*words[at + 1 : after])
        at = after


def _check_order(operations: Sequence[Operation]) -> None:
    if len(operations) >= RECORDS_LIMIT:
        raise PlanInvalid(f"{len(operations) + 1} records; a launch plan holds at most {RECORDS_LIMIT}")
    if tuple(type(operation) for operation in operations[: len(HEAD)]) != HEAD:
        raise PlanInvalid(f"a launch plan begins with {', '.join(kind.op for kind in HEAD)}")
    for operation in operations[len(HEAD) :]:
        if isinstance(operation, HEAD):
            raise PlanInvalid(f"{operation.op} appears twice")


def _check_size(data: bytes) -> None:
    if len(data) > BYTES_LIMIT:
        raise PlanInvalid(f"{len(data)} bytes; a launch plan holds at most {BYTES_LIMIT}")
