"""Verb `stale`: a policy whose signatures have been due for too long gives way to the strictest baseline.

A timer asks every hour (role hostside). Nobody is there to confirm, so there is no trial: the baseline is the
place that every trial may fall back to. The way there is laid first, durably, and taken by one rename; killed
or out of space at any moment, the host has the policy of before or the baseline, whole, and the next look
goes on. A clock alone is believed on the second look (`looks`). What leads out again is a push.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, TypeVar

from fleetbox.hostside import (
    audit,
    baseline,
    clock,
    collect,
    config,
    floor,
    generations,
    looks,
    pending,
    reversal,
    signed_time,
    staleness,
    store,
)
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.generations import Generation
from fleetbox.hostside.looks import Looks
from fleetbox.hostside.paths import Places
from fleetbox.hostside.reversal import Reversal
from fleetbox.hostside.staleness import Staleness
from fleetbox.hostside.state import State, locked

_NO_ROOM = ("disk_full", "no_inodes", "quota_exceeded")
_Made = TypeVar("_Made")


def stale(places: Places, _options: Namespace, _stdin: BinaryIO) -> dict[str, Any]:
    """Verb `stale`: look, and go to the strictest baseline if signatures were due for too long on two looks.

    Raises `HostError`: `busy`, or what the disk refuses. The policy stays then; the next look tries again.
    """
    if config.load(places).max_stale_days is None:
        return _answer(None)
    said = staleness.staleness(places)
    if said.too_long:
        with locked(places) as state:
            return _too_long(places, state)
    if said.verified:
        with suppress(HostError), locked(places, wait_s=0.0) as state:
            generations.sweep(state, keep=pending.needed(state))
            _remember(places, state, due="")  # or, the same boot, at the next look
    return _answer(said)


def _too_long(places: Places, state: State) -> dict[str, Any]:
    """With the lock held; by now somebody may have brought new signatures."""
    reversal.settle(places, state)
    store.sweep(state)
    generations.sweep(state, keep=pending.needed(state))
    said = staleness.of(places, state)
    due = said.since if said.too_long and said.since else ""
    active = generations.current(state)
    if not due or active is None or baseline.is_it(active.digest):
        return _answer(said)
    seen = _with_room(state, lambda: _remember(places, state, due=due))
    if left_s := seen.left_s(due):
        _with_room(state, lambda: baseline.put(state))  # not only when there may be no room for it
        _notice(places, active, said, seen, left_s)
        return _answer(said, left_s=left_s)
    return _answer(said, went=_go(places, state, active, said))


def _go(places: Places, state: State, active: Generation, said: Staleness) -> Reversal:
    """Make the baseline current, durably. The trail has it before: no kill can keep it out."""
    on_trial = pending.read(state) is not None
    if on_trial:
        audit.attempt(places, "went_stale", **_facts(active, said))
        # One may have been asked for that lasts for years. It may lead to the baseline itself.
        reversal.settle(places, state, superseding=True)
    to = generations.current(state)
    if to is None or not baseline.is_it(to.digest):
        to = _with_room(state, lambda: _lay(state))
        if not on_trial:
            audit.attempt(places, "went_stale", **_facts(active, said))
        generations.go_back(state, to.number)
    done = Reversal(active.number, active.digest, "stale", to.number, clock.utc_now(), [])
    reversal.tell(state, done)
    return done


def _lay(state: State) -> Generation:
    """The baseline as a generation above all others, and a pointer to it beside `current`."""
    laid = generations.add(state, baseline.put(state))
    try:
        generations.lay_back(state, laid)
    except BaseException:
        with suppress(OSError):
            generations.forget(state, laid.number)
        raise
    return laid


def _with_room(state: State, make: Callable[[], _Made]) -> _Made:
    """Where the disk is full, once more without what nobody goes back to: a workload may have filled it."""
    try:
        return make()
    except HostError as problem:
        if problem.code not in _NO_ROOM:
            raise
    with suppress(HostError, OSError):
        collect.collect(state, keep=2)
    return make()


def _remember(places: Places, state: State, *, due: str) -> Looks:
    seen = looks.upto_now(places, state, floor.load(state).issued).noticing(due, clock.utc_now())
    looks.write(state, seen)
    return seen


def _notice(places: Places, active: Generation, said: Staleness, seen: Looks, left_s: float) -> None:
    """Tell whoever reads the journal, and the trail at the first look in a row."""
    if seen.noticed == seen.ran:
        audit.attempt(places, "stale_noticed", **_facts(active, said))
    sys.stderr.write(
        f"fleetbox-host: {said.what} ran out at {said.since}, longer ago than max_stale_days,"
        f" {_witness(said)}; if that still holds after {left_s / 60:.0f} more minutes of running, this host"
        " goes to the strictest baseline. Compare the clock (date -u); then fleetbox trust refresh and"
        " push-policy\n"
    )


def _witness(said: Staleness) -> str:
    if said.by_clock:
        return f"as this host's clock says {signed_time.text(signed_time.now())}"
    return "by the time that this host has run since, whatever its clock says"


def _facts(active: Generation, said: Staleness) -> dict[str, Any]:
    return {
        "generation": active.number,
        "digest": active.digest,
        "what": said.what,
        "since": said.since,
        "clock": signed_time.text(signed_time.now()),
        "by_clock": said.by_clock,
    }


def _answer(
    said: Staleness | None, *, left_s: float | None = None, went: Reversal | None = None
) -> dict[str, Any]:
    """`trust`: None where this host keeps its policy for ever. `believed_in_s`: until then only noticed."""
    return {
        "changed": went is not None,
        "reversal": went and went.as_answer(),
        "believed_in_s": None if left_s is None else round(left_s, 1),
        "trust": said and said._asdict(),
    }
