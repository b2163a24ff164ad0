"""What changes between two policies: field by field, when it takes effect, whether it widens or narrows.

What is not sure counts as widening, in both directions: whoever approves a push may skip what narrows. A
rule's effect is decided for a workspace and a home that lie apart from the absolute paths in the policy.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from fleetbox.policy.amounts import duration_seconds, memory_bytes
from fleetbox.policy.explain import explain
from fleetbox.policy.model import Outbound, mutability
from fleetbox.policy.resolve import ResolvedPolicy
from fleetbox.policy.words import (
    PROTECTED_PARTS,
    STRENGTH,
    Access,
    GpuMode,
    GpuProfile,
    Landlock,
    Mode,
    Mutability,
    NetworkMode,
    Root,
    Tmp,
    UnixSockets,
)


class Effect(StrEnum):
    WIDENS = "widens"
    NARROWS = "narrows"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `before` or `after` is None where an entry was added or removed."""

    section: str
    field: str
    before: str | None
    after: str | None
    mutability: Mutability
    effect: Effect

    def as_json(self) -> dict[str, str | None]:
        return asdict(self)


# Each field's values from the narrowest to the widest; equal width stands together.
_WIDTH: Mapping[str, tuple[tuple[object, ...], ...]] = {
    "mode": ((Mode.READ_ONLY,), (Mode.WORKSPACE_WRITE,), (Mode.FULL_ACCESS,)),
    "filesystem.root": ((Root.MINIMAL,), (Root.HOST,)),
    "filesystem.workspace": ((Access.READ,), (Access.WRITE,)),
    "filesystem.tmp": ((Tmp.NONE,), (Tmp.PRIVATE,), (Tmp.HOST,)),
    "filesystem.allow_host_mounts": ((False,), (True,)),
    "network.mode": ((NetworkMode.NONE,), (NetworkMode.PROXY,), (NetworkMode.HOST,)),
    "process.nested_sandboxes": ((False,), (True,)),
    "process.allow_host_pids": ((False,), (True,)),
    "process.unix_sockets": ((UnixSockets.NONE,), (UnixSockets.AUTO,), (UnixSockets.PRIVATE,)),
    # With `required` a launch without a GPU is refused; with one, both give the same.
    "devices.gpu.mode": ((GpuMode.NONE,), (GpuMode.AUTO, GpuMode.REQUIRED)),
    "devices.gpu.exclusive": ((True,), (False,)),
    "devices.gpu.profile": ((GpuProfile.COMPUTE,), (GpuProfile.GRAPHICS,)),
    "landlock": ((Landlock.REQUIRED,), (Landlock.BEST_EFFORT,), (Landlock.OFF,)),
}


# Lists by what one more entry does.
_LISTS: Mapping[str, Effect] = {
    "filesystem.protect": Effect.NARROWS,
    "filesystem.unprotect": Effect.WIDENS,
    "network.outbound": Effect.WIDENS,
    "process.allowed_binaries": Effect.WIDENS,
    "devices.gpu.vendors": Effect.WIDENS,
    "devices.gpu.select": Effect.WIDENS,
    "devices.allow": Effect.WIDENS,
    "environment.pass_": Effect.WIDENS,
}
_AMOUNTS: Mapping[str, Callable[[Any], float]] = {
    "memory": memory_bytes,
    "pids": float,
    "wall": duration_seconds,
}
# No rule can name a directory whose name begins with $, so these lie apart from everything a rule names.
_APART = {"workspace": PurePath("/$workspace"), "home": PurePath("/$home"), "tmpdir": PurePath("/$tmpdir")}


def diff(a: ResolvedPolicy, b: ResolvedPolicy) -> list[Change]:
    """What is different in `b`, in the order of the schema."""
    return [*_head(a, b), *_values(a, b), *_rules(a, b), *_entries(a, b), *_limits(a, b)]


def _head(a: ResolvedPolicy, b: ResolvedPolicy) -> Iterator[Change]:
    for field in ("name", "description"):
        before, after = getattr(a, field), getattr(b, field)
        if before != after:
            yield _change(f"metadata.{field}", before, after, Effect.NEUTRAL)


def _values(a: ResolvedPolicy, b: ResolvedPolicy) -> Iterator[Change]:
    for field, order in _WIDTH.items():
        before, after = _get(a, field), _get(b, field)
        if before != after:
            width = {value: i for i, values in enumerate(order) for value in values}
            yield _change(field, _text(before), _text(after), _compared(width[before], width[after]))


def _get(policy: ResolvedPolicy, field: str) -> object:
    value: object = policy
    for name in field.split("."):
        value = getattr(value, name)
    return value


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _compared(before: float, after: float) -> Effect:
    return Effect.WIDENS if after > before else Effect.NARROWS if after < before else Effect.NEUTRAL


def _change(field: str, before: str | None, after: str | None, effect: Effect) -> Change:
    section = field.partition(".")[0]
    return Change(section, field.replace("pass_", "pass"), before, after, mutability(field), effect)


def _rules(a: ResolvedPolicy, b: ResolvedPolicy) -> Iterator[Change]:
    for rule in sorted(
        {*a.filesystem.rules} ^ {*b.filesystem.rules}, key=lambda rule: (rule.path, rule.access)
    ):
        added = rule in b.filesystem.rules
        # A pattern takes access wherever it matches, and where that is nobody knows.
        matched = Effect.NARROWS if added else Effect.WIDENS
        effect = matched if rule.is_glob else _effect_at(rule.path, a, b)
        before, after = (None, rule.access) if added else (rule.access, None)
        yield _change(f"filesystem.rules[{rule.path}]", before, after, effect)


def _effect_at(path: str, a: ResolvedPolicy, b: ResolvedPolicy) -> Effect:
    """How access to a rule's path changes, to anything in it, and to what is protected in it."""
    # What stays protected even in an unprotected name tells where protection begins and ends.
    names = {"", "anything"} | {f"{name}/{part}" for name, parts in PROTECTED_PARTS.items() for part in parts}
    effects = {_compared(_width(a, f"{path}/{name}"), _width(b, f"{path}/{name}")) for name in names}
    if Effect.WIDENS in effects:
        return Effect.WIDENS
    return Effect.NARROWS if Effect.NARROWS in effects else Effect.NEUTRAL


def _width(policy: ResolvedPolicy, path: str) -> int:
    return STRENGTH[explain(policy, path, **_APART).access]


def _entries(a: ResolvedPolicy, b: ResolvedPolicy) -> Iterator[Change]:
    for field, added in _LISTS.items():
        before, after = _named(a, field), _named(b, field)
        if before is None or after is None:
            if before != after:
                effect = _compared(before is None, after is None)
                yield _change(field, _joined(before), _joined(after), effect)
            continue
        removed = Effect.NARROWS if added is Effect.WIDENS else Effect.WIDENS
        for name in sorted(before ^ after):
            is_new = name in after
            yield _change(
                f"{field}[{name}]",
                None if is_new else name,
                name if is_new else None,
                added if is_new else removed,
            )
    yield from _variables(a, b)


def _named(policy: ResolvedPolicy, field: str) -> set[str] | None:
    """A list's entries as texts; None where everything is meant."""
    value = _get(policy, field)
    if not isinstance(value, tuple):
        return None
    return {v.model_dump_json(exclude_none=True) if isinstance(v, Outbound) else str(v) for v in value}


def _joined(names: set[str] | None) -> str:
    return "everything" if names is None else ", ".join(sorted(names))


def _variables(a: ResolvedPolicy, b: ResolvedPolicy) -> Iterator[Change]:
    """A fixed value may hold a secret or change what a program does: nobody can tell, so it widens."""
    before, after = a.environment.set, b.environment.set
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            field = f"environment.set[{name}]"
            yield _change(field, before.get(name), after.get(name), Effect.WIDENS)


def _limits(a: ResolvedPolicy, b: ResolvedPolicy) -> Iterator[Change]:
    for field, amount in _AMOUNTS.items():
        before, after = getattr(a.process.limits, field), getattr(b.process.limits, field)
        if before != after:
            old, new = (math.inf if value is None else amount(value) for value in (before, after))
            texts = ("unlimited" if value is None else str(value) for value in (before, after))
            yield _change(f"process.limits.{field}", next(texts), next(texts), _compared(old, new))
