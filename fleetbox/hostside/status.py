"""What a host has: its generations, the current one and its policies. Reads only, takes no lock."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, BinaryIO

from fleetbox.hostside import (
    anchors,
    baseline,
    clock,
    config,
    floor,
    generations,
    looks,
    manifest,
    paths,
    pending,
    quarantine,
    reversal,
    signed_time,
    staleness,
    store,
)
from fleetbox.hostside.clock import Now
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import State, reading

_NOTHING: dict[str, Any] = {
    "generation": None,
    "digest": None,
    "default_policy": None,
    "policies": [],
    "generations": [],
    "baseline": False,
    "pending": None,
    "last_reversal": None,
    "quarantine": [],
    "trust": None,
}


def status(places: Places, _options: Namespace, _stdin: BinaryIO) -> dict[str, Any]:
    """Verb `status`. Raises `HostError` `tampered` when the current content is not what its digest says."""
    with reading(places) as state:
        active = generations.current(state) if state else None
        if state is None:
            return _NOTHING
        trials = {
            "pending": _pending(state, clock.now(places)),
            "last_reversal": reversal.last(state),
            "quarantine": quarantine.listed(state),
            "trust": _trust(places, state),
        }
        if active is None:
            return {**_NOTHING, **trials}
        return {
            "generation": active.number,
            "digest": active.digest,
            **_policies(state, active.digest),
            "generations": [
                {"n": known.number, "digest": known.digest} for known in generations.listed(state)
            ],
            "baseline": baseline.is_it(active.digest),
            **trials,
        }


def _trust(places: Places, state: State) -> dict[str, Any] | None:
    """The floor, and what of the signatures is due; None where this host takes what is unsigned.

    `clock`: what this host takes for the time. `noticed`: its time when it first said `too_long`.
    """
    if not anchors.needed(places):
        return None
    said, seen = staleness.of(places, state), looks.read(state)
    return {
        "floor": floor.load(state).public(),
        **said._asdict(),
        "max_stale_days": config.load(places).max_stale_days,
        "clock": signed_time.text(signed_time.now()),
        "noticed": seen.noticed_at if seen and said.since and seen.due == said.since else None,
    }


def _pending(state: State, now: Now) -> dict[str, Any] | None:
    """What is on trial, without its nonce; `over`: nobody has gone back yet, and somebody will."""
    trial = pending.read(state)
    if trial is None:
        return None
    return {
        "generation": trial.generation,
        "digest": trial.digest,
        "back_to": trial.fallback,
        "left_s": round(trial.left(now), 1),
        "until": trial.until_wall,
        "over": trial.is_over(now),
    }


def _policies(state: State, digest: str) -> dict[str, Any]:
    contents = manifest.decode(dict(store.load(state, digest))[paths.MANIFEST])
    return {
        "default_policy": contents["default_policy"],
        "policies": [policy["name"] for policy in contents["policies"]],
    }
