"""Verb `confirm`: whoever activated a generation still reaches this host over a new connection; it stays.

Confirming twice is no error, because the first answer may have been lost. Confirming too late, or something
else than what is on trial, changes nothing.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any, BinaryIO

from fleetbox.hostside import baseline, collect, generations, pending, reversal
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.pending import Pending
from fleetbox.hostside.state import State, locked


def confirm(places: Places, options: Namespace, _stdin: BinaryIO) -> dict[str, Any]:
    """Verb `confirm`: end the trial of generation N, whose activation answered with NONCE.

    Raises `HostError`: `too_late`, `superseded`, `not_on_trial` or `wrong_nonce`.
    """
    with locked(places) as state:
        reversal.settle(places, state)
        trial = pending.read(state)
        if trial is not None and trial.is_confirmed_by(options.generation, options.nonce):
            reversal.keep(places, state, trial)
            collect.after_trial(state)
            return {"changed": True, "generation": trial.generation, "digest": trial.digest}
        active = generations.current(state)
        if trial is None and active is not None and active.number == options.generation:
            return {"changed": False, "generation": active.number, "digest": active.digest}
        raise _refusal(state, trial, options.generation)


def _refusal(state: State, trial: Pending | None, number: int) -> HostError:
    active = generations.current(state)
    answer = {
        "generation": active and active.number,
        "digest": active and active.digest,
        "baseline": active is not None and baseline.is_it(active.digest),
    }
    if trial is not None and trial.generation == number:
        return HostError(
            "wrong_nonce",
            f"generation {number} was activated by somebody else: the nonce is not the one of its activation",
            hint="who activates confirms, with what the activation answered",
            answer=answer,
        )
    before = reversal.last(state)
    if before is not None and before["generation"] == number:
        return HostError(
            "superseded" if before["reason"] == "superseded" else "too_late",
            f"generation {number} did not stay: {reversal.REASONS.get(before['reason'], before['reason'])}",
            hint="push again; fleetbox-host status says what is enforced now",
            answer={**answer, "rolled_back": True},
        )
    return HostError(
        "not_on_trial",
        f"generation {number} is not waiting for a confirmation",
        hint="fleetbox-host status says which one is, if any",
        answer=answer,
    )
