"""A merged policy as the one thing that targets, checks and hosts agree on.

Everything a policy leaves open is decided here, and lists are sorted, so that what means the same has the
same bytes and the same digest on any machine. Who wrote what travels along and is no part of the digest.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import Field

from fleetbox.policy.merge import GPU_MODE, Entry, Layer, Leaf
from fleetbox.policy.model import Body, Outbound, Rule
from fleetbox.policy.words import PROTECTED, STRENGTH, Access, GpuMode, Mode, NetworkMode

DEFAULT_ORIGIN = "default"


class ResolvedPolicy(Body):
    """A policy with its presets merged and its paths normalised.

    `explicit` are the dotted fields that an author wrote in any of the merged documents.
    """

    name: str
    description: str = ""
    explicit: frozenset[str] = Field(frozenset(), exclude=True, repr=False)
    origins: Mapping[str, str] = Field({}, exclude=True, repr=False)

    def document(self) -> dict[str, Any]:
        """The policy as a document that resolves to this one again; plain data."""
        body = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        body["filesystem"]["rules"] = [
            rule.model_dump(mode="json", exclude_defaults=True) for rule in self.filesystem.rules
        ]
        metadata = {"name": body.pop("name"), "description": body.pop("description")}
        # Beside full-access every section is an error: without a sandbox it would say something untrue.
        body = {"mode": body["mode"]} if self.mode is Mode.FULL_ACCESS else body
        return {"apiVersion": "fleetbox/v1", "kind": "SandboxPolicy", "metadata": metadata, **body}

    def canonical_json(self) -> bytes:
        """The document's one byte form: sorted keys, no spaces, ASCII, a newline at the end."""
        text = json.dumps(self.document(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return text.encode() + b"\n"

    @cached_property
    def digest(self) -> str:
        """`sha256:` and the hex digest of the canonical form: the policy's name everywhere else."""
        return "sha256:" + hashlib.sha256(self.canonical_json()).hexdigest()

    def origin(self, field: str) -> str:
        """`file:line` where a field, or an entry such as `filesystem.rules[3]`, was written last."""
        return self.origins.get(field, DEFAULT_ORIGIN)


def resolve(layer: Layer, *, name: str, description: str = "") -> ResolvedPolicy:
    """The policy that a merged layer without contradictions means."""
    ordered = {field: _in_order(leaf) for field, leaf in layer.items()}
    values = {
        field: leaf.value if leaf.entries is None else tuple(entry.value for entry in leaf.entries)
        for field, leaf in ordered.items()
    }
    nested: dict[str, Any] = {"name": name, "description": description}
    for field, value in _decided(values).items():
        *sections, key = field.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[key] = value
    return ResolvedPolicy(**nested, explicit=frozenset(layer), origins=_origins(ordered))


def _decided(values: dict[str, Any]) -> dict[str, Any]:
    """`values` with the fields that depend on another one decided."""
    protected = {*PROTECTED, *values.get("filesystem.protect", ())}
    opened = values.get("filesystem.unprotect", ())
    decided = values | {"filesystem.protect": tuple(sorted(protected - set(opened)))}
    if values.get("mode") is Mode.READ_ONLY:
        decided["filesystem.workspace"] = Access.READ
        decided.setdefault(GPU_MODE, GpuMode.NONE)
    if values.get("network.mode", NetworkMode.NONE) is NetworkMode.NONE:
        decided["network.outbound"] = ()
    return decided


def _in_order(leaf: Leaf) -> Leaf:
    """Sorted, and what is written twice once, where it was written first."""
    if leaf.entries is None:
        return leaf
    first = {entry.value: entry for entry in reversed(leaf.entries)}
    return Leaf(leaf.position, entries=tuple(sorted(first.values(), key=_sort_key)))


def _sort_key(entry: Entry) -> tuple[str, int]:
    match entry.value:
        case Rule(path=path, access=access):
            return path, STRENGTH[access]
        case Outbound() as outbound:
            return outbound.model_dump_json(), 0
        case text:
            return str(text), 0


def _origins(layer: Layer) -> dict[str, str]:
    origins: dict[str, str] = {}
    for field, leaf in layer.items():
        origins[field] = str(leaf.position)
        for i, entry in enumerate(leaf.entries or ()):
            origins[f"{field}[{i}]"] = str(entry.position)
    return origins
