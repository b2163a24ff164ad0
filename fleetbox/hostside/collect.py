"""Verb `gc`: generations that nobody goes back to any more, and bundles that no generation has.

Never the current generation, the one on trial or the one to go back to. A bundle that was staged for later is
kept for a day. Running workloads keep what they were started with: a launch reads its generation once.
"""

from __future__ import annotations

import time
from argparse import Namespace
from contextlib import suppress
from typing import Any, BinaryIO

from fleetbox.hostside import generations, pending, reversal, store
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import State, locked

KEEP = 10
_STAGED_FOR_S = 24 * 3600.0


def gc(places: Places, options: Namespace, _stdin: BinaryIO) -> dict[str, Any]:
    """Verb `gc`: keep the newest `--keep` generations. Says what it removed."""
    with locked(places) as state:
        reversal.settle(places, state)
        # What a killed activation left is newer than all that somebody may go back to, and would be kept.
        generations.sweep(state, keep=pending.needed(state))
        return collect(state, options.keep)


def after_trial(state: State) -> None:
    """As part of another verb, which has done what it was asked for whatever becomes of this."""
    with suppress(HostError, OSError):
        collect(state, KEEP)


def collect(state: State, keep: int) -> dict[str, Any]:
    """Remove what is not needed. `keep`: how many generations, at least two: what is in use, and the newest
    others; on trial there may be more, as what is kept for its way back is nothing to roll back to.
    """
    in_use = _in_use(state)
    others = [old.number for old in generations.listed(state) if old.number not in in_use]
    removed = others[: 1 - max(2, keep)]
    for number in removed:
        generations.forget(state, number)
    named = {generation.digest for generation in generations.listed(state)}
    unnamed = [digest for digest in store.listed(state) if digest not in named]
    dropped = [digest for digest in unnamed if store.age_s(state, digest, time.time()) > _STAGED_FOR_S]
    for digest in dropped:
        store.drop(state, digest)
    return {"changed": bool(removed or dropped), "generations": removed, "bundles": dropped}


def _in_use(state: State) -> frozenset[int]:
    active = generations.current(state)
    return pending.needed(state) | ({active.number} if active else set())
