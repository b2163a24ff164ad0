"""What becomes of a policy that asks for more than a target can enforce: a refusal, never less.

What a policy writes down, or sets to other than its default, is refused at compile time unless it is
enforced, or enforced in part with a note that says which part (`parity`).
"""

from collections.abc import Iterator

from pydantic import BaseModel

from fleetbox.policy import ResolvedPolicy
from fleetbox.policy.model import Body
from fleetbox.policy.words import Landlock
from fleetbox.targets.interface import Refusal, UnsupportedByTarget
from fleetbox.targets.parity import PARITY, Platform, Row, State


def refuse_unenforced(policy: ResolvedPolicy, platform: Platform, target: str) -> None:
    """Raises UnsupportedByTarget naming every field and value at once."""
    refusals = [*_contradictions(policy), *_unenforced(policy, platform)]
    if refusals:
        raise UnsupportedByTarget(target, refusals)


def _unenforced(policy: ResolvedPolicy, platform: Platform) -> Iterator[Refusal]:
    for field in dict.fromkeys(row.field for row in PARITY):
        for value in values(policy, field) if _is_asked_for(policy, field) else ():
            row = row_of(field, value)
            if row.on(platform) in (State.IMPOSSIBLE, State.NOT_BUILT):
                yield Refusal(field, value, policy.origin(field), row.note)


def _contradictions(policy: ResolvedPolicy) -> Iterator[Refusal]:
    """Fields that Landlock cannot enforce together; about Linux, the one platform that has it."""
    listed = policy.process.allowed_binaries is not None
    required = policy.landlock is Landlock.REQUIRED
    if policy.process.nested_sandboxes and (listed or required):
        other = "process.allowed_binaries" if listed else "landlock: required"
        reason = f"a process under Landlock cannot mount, so not beside {other}"
        origin = policy.origin("process.nested_sandboxes")
        yield Refusal("process.nested_sandboxes", "true", origin, reason)
    if listed and policy.landlock is Landlock.OFF:
        origin = policy.origin("landlock")
        yield Refusal("landlock", "off", origin, "process.allowed_binaries is enforced by Landlock")


def row_of(field: str, value: str) -> Row:
    """The row about this value. Raises KeyError for a field without one: every field must have a row."""
    rows = {row.value: row for row in PARITY if row.field == field}
    return rows[value] if value in rows else rows[None]


def values(policy: Body, field: str) -> tuple[str, ...]:
    """A field's value as words: one, or one for each entry of a list; none where it is left open."""
    found = _attribute(policy, field)
    if found is None:
        return ()
    entries = found if isinstance(found, tuple | list) else (found,)
    return tuple(_word(entry) for entry in entries)


def _is_asked_for(policy: ResolvedPolicy, field: str) -> bool:
    """Written by an author; or, so that nothing can slip past `explicit`, other than the default."""
    written = any(name == field or field.startswith(f"{name}.") for name in policy.explicit)
    return written or _attribute(policy, field) != _attribute(Body(), field)


def _attribute(policy: Body, field: str) -> object:
    found: object = policy
    for name in field.split("."):
        found = getattr(found, "pass_" if name == "pass" else name)
    return found


def _word(entry: object) -> str:
    return entry.model_dump_json(exclude_defaults=True) if isinstance(entry, BaseModel) else str(entry)
