"""The end of a trial: the generation stays, or the host goes back to where the trial began.

Going back needs no space on the disk: the pointer to go back to was laid before the switch. What is noted
afterwards, for people and for the control machine, is noted if it can be.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any, NamedTuple

from fleetbox.hostside import audit, clock, generations, paths, pending, small_file, steps
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.pending import Pending
from fleetbox.hostside.state import State
from fleetbox.hostside.steps import Step

_NAME = os.path.basename(paths.LAST_REVERSAL)
_MESSAGE_MAX = 500
_RESULTS_MAX = 50

Results = list[dict[str, Any]]

REASONS = {
    "checks_failed": "its critical checks failed",
    "interrupted": "its activation was interrupted before its checks had passed",
    "unconfirmed": "nobody confirmed it in time",
    "rebooted": "the machine was rebooted before anybody had confirmed it",
    "superseded": "another activation came before anybody had confirmed it",
    "stale": "its signatures had been due for longer than max_stale_days",
}


class Reversal(NamedTuple):
    """A generation that did not stay. `back_to`: the one that is current instead; None for none.

    `reason` is one of `REASONS`; all but `stale` end a trial.
    """

    generation: int
    digest: str
    reason: str
    back_to: int | None
    at: str
    failed: Results

    def as_answer(self) -> dict[str, Any]:
        """For `status` and for refusals."""
        return self._asdict()


def settle(places: Places, state: State, *, superseding: bool = False) -> Reversal | None:
    """Go back if a trial is over, or if another activation takes its place; None when nothing had to be done.

    With the lock held: then no process is left that could still end a trial whose checks never passed.
    """
    trial = pending.read(state)
    if trial is None:
        return None
    now = clock.now(places)
    if trial.is_over(now):
        return reverse(places, state, trial, trial.why_over(now))
    active = generations.current(state)
    # Killed in the middle of superseding it: nobody may confirm what is not in force any more.
    gone = active is None or active.number != trial.generation
    return reverse(places, state, trial, "superseded") if superseding or gone else None


def reverse(
    places: Places, state: State, trial: Pending, reason: str, failed: Results | None = None
) -> Reversal:
    """Go back from the generation on trial, durably, and forget it."""
    active = generations.current(state)
    if active is not None and active.number == trial.generation:
        generations.go_back(state, trial.fallback)
        active = generations.current(state)
    pending.remove(state)
    steps.reached(Step.TRIAL_OVER)
    tidy(state, trial, active.number if active else None)
    steps.reached(Step.GENERATION_REMOVED)
    done = Reversal(
        trial.generation,
        trial.digest,
        reason,
        active.number if active else None,
        clock.utc_now(),
        [_short(result) for result in (failed or [])[:_RESULTS_MAX]],
    )
    tell(state, done)
    said = {name: value for name, value in done._asdict().items() if name != "at"}
    audit.attempt(places, "went_back", **said)
    return done


def tell(state: State, done: Reversal) -> None:
    """Note it for `status`, if that can be: the host is where it has to be, whatever the disk says."""
    with suppress(HostError):
        small_file.write(state, _NAME, done._asdict())


def keep(places: Places, state: State, trial: Pending) -> None:
    """End the trial: its generation stays, durably."""
    pending.remove(state)
    steps.reached(Step.CONFIRMED)
    tidy(state, trial, trial.generation)
    audit.attempt(places, "confirmed", generation=trial.generation, digest=trial.digest)


def tidy(state: State, trial: Pending, active: int | None) -> None:
    """Remove what only the trial needed, or leave that to the next verb; `active` is current now."""
    with suppress(HostError, OSError):
        if trial.generation != active:
            generations.forget(state, trial.generation)
        generations.sweep(state)  # with it a baseline that was made for the trial and is not needed


def last(state: State) -> dict[str, Any] | None:
    """The last generation that did not stay; None when none is known of."""
    data = small_file.read(state, _NAME)
    try:
        found = json.loads(data) if data else None
        return Reversal(**found).as_answer() if found else None
    except (ValueError, TypeError, RecursionError):
        return None  # it is only told; nothing is decided by it


def _short(result: dict[str, Any]) -> dict[str, Any]:
    return {"check_id": result["check_id"], "message": str(result["message"])[:_MESSAGE_MAX]}
