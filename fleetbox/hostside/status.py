"""What a host has: its generations, the current one and its policies. Reads only, takes no lock."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, BinaryIO

from fleetbox.hostside import generations, manifest, paths, store
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import State, reading

_NOTHING: dict[str, Any] = {
    "generation": None,
    "digest": None,
    "default_policy": None,
    "policies": [],
    "generations": [],
}


def status(places: Places, _options: Namespace, _stdin: BinaryIO) -> dict[str, Any]:
    """Verb `status`. Raises `HostError` `tampered` when the current content is not what its digest says."""
    with reading(places) as state:
        active = generations.current(state) if state else None
        if state is None or active is None:
            return _NOTHING
        return {
            "generation": active.number,
            "digest": active.digest,
            **_policies(state, active.digest),
            "generations": [
                {"n": known.number, "digest": known.digest} for known in generations.listed(state)
            ],
        }


def _policies(state: State, digest: str) -> dict[str, Any]:
    contents = manifest.decode(dict(store.load(state, digest))[paths.MANIFEST])
    return {
        "default_policy": contents["default_policy"],
        "policies": [policy["name"] for policy in contents["policies"]],
    }
