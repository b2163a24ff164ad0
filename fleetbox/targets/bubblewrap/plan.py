"""The launch plan's bytes, format 1: the compiler writes them, the launcher obeys them (docs/launch-plan.md).

Records in the frame of `fleetbox.hostside.records`. `decode` is as strict as the launcher, so that what it
reads back is what the launcher would do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields

from fleetbox.hostside.records import LAUNCH_PLAN, FrameInvalid
from fleetbox.targets.bubblewrap.operation import Operation, PlanInvalid
from fleetbox.targets.bubblewrap.operations import HEAD, REPEATED

BYTES_LIMIT = LAUNCH_PLAN.limit
RECORDS_LIMIT = 4000  # `end` included

_KINDS: dict[str, type[Operation]] = {kind.op: kind for kind in (*HEAD, *REPEATED)}


def encode(operations: Sequence[Operation]) -> bytes:
    """Raises PlanInvalid for an order or a size that the launcher refuses."""
    _check_order(operations)
    try:
        return LAUNCH_PLAN.seal([(operation.op, *operation.arguments()) for operation in operations])
    except FrameInvalid as problem:
        raise PlanInvalid(str(problem)) from None


def decode(data: bytes) -> tuple[Operation, ...]:
    """Raises PlanInvalid for anything that `encode` would not have written."""
    try:
        words = LAUNCH_PLAN.words(data)
    except FrameInvalid as problem:
        raise PlanInvalid(str(problem)) from None
    operations = tuple(_records(words))
    _check_order(operations)
    return operations


def describe(operations: Sequence[Operation]) -> str:
    """The operations in words, one a line."""
    return "".join(f"{operation.describe()}\n" for operation in operations)


def _records(words: Sequence[str]) -> Iterator[Operation]:
    at = 0
    while at < len(words):
        kind = _KINDS.get(words[at])
        if kind is None:
            raise PlanInvalid(f"unknown operation {words[at]!r}")
        after = at + 1 + len(fields(kind))
        if after > len(words):
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
