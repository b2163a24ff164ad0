"""Documents laid over one another: what was written where, and what of it remains.

A layer holds only what an author wrote, never a default, so that a preset cannot hide a preset below it.
Lists add, other values replace.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fleetbox.policy.model import Body, Section
from fleetbox.policy.positions import Loc, Position
from fleetbox.policy.validate import Validated
from fleetbox.policy.words import GpuMode

GPU_MODE = "devices.gpu.mode"
# A list, and yet one choice: selecting a GPU in a document means that one, not one more.
_ONE_CHOICE = "devices.gpu.select"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a list that adds, and where it was written."""

    value: Hashable
    position: Position


@dataclass(frozen=True, slots=True)
class Leaf:
    """One field's value; `entries` is None for everything but a list that adds."""

    position: Position
    value: object = None
    entries: tuple[Entry, ...] | None = None

    def overlaid(self, later: "Leaf") -> "Leaf":
        if self.entries is not None and later.entries is not None:
            known = {entry.value for entry in self.entries}
            new = tuple(entry for entry in later.entries if entry.value not in known)
            return Leaf(later.position, entries=self.entries + new)
        if isinstance(self.value, Mapping) and isinstance(later.value, Mapping):
            return Leaf(later.position, {**self.value, **later.value})
        return later


Layer: TypeAlias = Mapping[str, Leaf]


def written(document: Validated) -> Layer:
    """What a document says itself: dotted field → leaf."""
    layer = dict(_leaves(document, document.policy, ()))
    short = document.policy.gpu_passthrough
    if short is not None:
        mode = GpuMode.AUTO if short else GpuMode.NONE
        layer[GPU_MODE] = Leaf(document.node.at(("gpu_passthrough",)).position, mode)
    return layer


def _leaves(document: Validated, section: Section, at: Loc) -> Iterable[tuple[str, Leaf]]:
    for name, info in type(section).model_fields.items():
        loc = (*at, info.alias or name)
        value = getattr(section, name)
        if name not in section.model_fields_set or (not at and name not in Body.model_fields):
            continue
        if isinstance(value, Section):
            yield from _leaves(document, value, loc)
        else:
            field = ".".join(str(step) for step in loc)
            yield field, _leaf(document, field, loc, value)


def _leaf(document: Validated, field: str, loc: Loc, value: object) -> Leaf:
    node = document.node.at(loc)
    if isinstance(value, tuple) and isinstance(node.value, tuple) and field != _ONE_CHOICE:
        places = (item.position for item in node.value)
        entries = tuple(Entry(item, place) for item, place in zip(value, places, strict=True))
        return Leaf(node.position, entries=entries)
    return Leaf(node.position, value)


def overlay(layers: Iterable[Layer]) -> Layer:
    """All layers as one; later ones lie on top."""
    merged: dict[str, Leaf] = {}
    for layer in layers:
        for field, leaf in layer.items():
            merged[field] = merged[field].overlaid(leaf) if field in merged else leaf
    return merged
