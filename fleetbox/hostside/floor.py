"""The floor: what this host has seen, and never goes below again. It lies apart from the signed files.

Metadata may be lost with its protection against older metadata; the floor stays, and is all that is needed to
refuse an older assignment. It grows only, with one exception: when a newer root file takes so many keys away
that none of the files signed before has enough signatures any more, nothing old can come back, and what those
keys said no longer counts. Otherwise a thief of the online key could say `generation: 999999999` once, and
the host would take no assignment ever after.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from fleetbox.hostside import paths, release, signed_time, small_file, trust_words
from fleetbox.hostside.release import Assignment, ReleaseInvalid
from fleetbox.hostside.state import State

_NAME = os.path.basename(paths.FLOOR)
_SCHEMA_VERSION = 1
_KEYS_MAX = 256


class Signers(NamedTuple):
    """Who may sign targets by version `root` of the root file; it takes `threshold` of these keys."""

    root: int
    keys: tuple[str, ...]
    threshold: int


class Floor(NamedTuple):
    """`generation`, `release`, `digest`: the last assignment accepted. `issued`: of the newest one verified.

    The rest is who could sign what made the floor this high: version of the root file and ids of the keys.
    """

    generation: int = 0
    release: str = ""
    digest: str = ""
    issued: str = ""
    min_release: int = 0
    assignment_root: int = 0
    assignment_keys: tuple[str, ...] = ()
    policy_root: int = 0
    policy_keys: tuple[str, ...] = ()

    def under(self, assignment: Signers, policy: Signers) -> Floor:
        """The floor by the root files of now. Raises `HostError` for one that is older than one seen."""
        _check_root("assignment", assignment.root, self.assignment_root)
        _check_root("policy", policy.root, self.policy_root)
        kept = self
        if _all_revoked(self.assignment_keys, assignment):
            kept = kept._replace(generation=0, release="", digest="", issued="")
        if _all_revoked(self.policy_keys, policy):
            kept = kept._replace(min_release=0)
        return kept._replace(
            assignment_root=assignment.root,
            assignment_keys=assignment.keys,
            policy_root=policy.root,
            policy_keys=policy.keys,
        )

    def seen(self, issued: str, min_release: int) -> Floor:
        """The floor when signed files said so."""
        return self._replace(issued=max(self.issued, issued), min_release=max(self.min_release, min_release))

    def accepted(self, assignment: Assignment) -> Floor:
        """The floor when the host has taken `assignment` over."""
        return self._replace(
            generation=assignment.generation, release=assignment.release, digest=assignment.digest
        )

    def public(self) -> dict[str, Any]:
        """What an answer says of it."""
        return {"generation": self.generation, "min_release": self.min_release, "issued": self.issued or None}


def _check_root(repository: str, version: int, seen: int) -> None:
    if version < seen:
        raise trust_words.refused(
            "rolled_back_metadata",
            f"the newest {repository} root file here is version {version}; this host has seen version {seen}",
        )


def _all_revoked(before: Sequence[str], now: Signers) -> bool:
    """Whether no file that the keys of `before` signed has enough signatures any more."""
    return bool(before) and len(set(before) & set(now.keys)) < now.threshold


def load(state: State) -> Floor:
    """The floor; the lowest where there is none yet. Raises `HostError` `floor_damaged`."""
    shown = f"{state.path}/{_NAME}"
    data = small_file.read(state, _NAME)
    if data is None:
        return Floor()
    try:
        return decode(data)
    except (ValueError, RecursionError, ReleaseInvalid) as problem:
        raise trust_words.refused("floor_damaged", f"{shown} is damaged: {problem}") from None


def store(state: State, floor: Floor) -> None:
    """Write it durably, unless it says so already."""
    data = encode(floor)
    if small_file.read(state, _NAME) == data:
        os.fsync(state.root_fd)  # a run killed right after its rename may have left this undone
    else:
        small_file.replace(state, _NAME, data)


def encode(floor: Floor) -> bytes:
    """The content of the file."""
    fields = {"schema_version": _SCHEMA_VERSION, **floor._asdict()}
    return (json.dumps(fields, sort_keys=True, indent=1) + "\n").encode("ascii")


def decode(data: bytes) -> Floor:
    """The other way. Raises ValueError, `ReleaseInvalid`."""
    fields = json.loads(data)
    if not isinstance(fields, dict) or set(fields) != {"schema_version", *Floor._fields}:
        raise ValueError("not an object with exactly the fields of a floor")
    if fields.pop("schema_version") != _SCHEMA_VERSION:
        raise ValueError("of a version that this program does not know")
    for name in ("generation", "min_release", "assignment_root", "policy_root"):
        _check_number(fields[name], name)
    for name in ("release", "digest", "issued"):
        if not isinstance(fields[name], str):
            raise ValueError(f"{name} is not text")
    if fields["generation"]:
        release.release_name(fields["release"])
    if fields["issued"]:
        signed_time.parse(fields["issued"])
    for name in ("assignment_keys", "policy_keys"):
        keys = fields[name]
        if not isinstance(keys, list) or len(keys) > _KEYS_MAX or not all(isinstance(k, str) for k in keys):
            raise ValueError(f"{name} is not a list of key ids")
        fields[name] = tuple(keys)
    return Floor(**fields)


def _check_number(value: object, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= release.NUMBER_MAX:
        raise ValueError(f"{name} is {value!r:.80}, not a number from 0 to {release.NUMBER_MAX}")
