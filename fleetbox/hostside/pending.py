"""An activation that has not been confirmed, as it is remembered across a reboot or a power cut.

Made durable before `current` is switched and removed when the activation is confirmed. So whoever finds one
later knows that a generation is on trial, where to go back to, and whether its time is over.
"""

from __future__ import annotations

import hmac
import json
import os
import re
from typing import Any, NamedTuple

from fleetbox.hostside import paths, small_file
from fleetbox.hostside.clock import Now
from fleetbox.hostside.manifest import DIGEST
from fleetbox.hostside.state import State, unsafe

SCHEMA_VERSION = 1
_NAME = os.path.basename(paths.PENDING)
NONCE = re.compile(r"[0-9a-f]{32}")
_NUMBER_MAX = 999_999_999


class Pending(NamedTuple):
    """One activation on trial.

    `fallback`: the generation to go back to; None to no generation at all, where there was none.
    `checked`: its critical checks have passed and it waits for its confirmation; before that, only the
    process that holds the lock may keep it.
    `until`: seconds since boot `boot`; `until_wall` says about the same to people.
    """

    generation: int
    digest: str
    fallback: int | None
    nonce: str
    checked: bool
    boot: str
    since: float
    until: float
    until_wall: str

    def is_over(self, now: Now) -> bool:
        """Whether it may stay no longer: it was never checked, its time is over, or the machine was
        rebooted since, which nobody confirms over. Asked with the lock held.
        """
        rebooted = now.boot != self.boot or now.since_boot < self.since
        return not self.checked or rebooted or now.since_boot >= self.until

    def why_over(self, now: Now) -> str:
        """The word for the reason: `interrupted`, `rebooted` or `unconfirmed`."""
        if not self.checked:
            return "interrupted"
        return "rebooted" if now.boot != self.boot or now.since_boot < self.since else "unconfirmed"

    def left(self, now: Now) -> float:
        """Seconds until its time is over; 0.0 when it is."""
        return 0.0 if self.is_over(now) else self.until - now.since_boot

    def is_confirmed_by(self, generation: int, nonce: str) -> bool:
        """Whether somebody who knows this activation's own number and nonce asks."""
        return generation == self.generation and hmac.compare_digest(nonce, self.nonce)


def read(state: State) -> Pending | None:
    """The activation on trial; None when there is none. Raises `HostError` `unsafe_state`."""
    data = small_file.read(state, _NAME)
    if data is None:
        return None
    try:
        return _decode(data)
    except (ValueError, TypeError, KeyError, RecursionError) as problem:
        raise unsafe(f"{state.path}/{_NAME} is not what this program writes: {problem}") from None


def needed(state: State) -> frozenset[int]:
    """The generation on trial and the one to go back to; none when nothing is."""
    trial = read(state)
    return frozenset() if trial is None else frozenset({trial.generation, trial.fallback or 0})


def write(state: State, pending: Pending) -> None:
    """Remember it, durably, for root alone: who knows the nonce can confirm."""
    small_file.write(state, _NAME, {"schema_version": SCHEMA_VERSION, **pending._asdict()}, mode=0o600)


def remove(state: State) -> None:
    """Forget it, durably: from here on what is current stays."""
    small_file.remove(state, _NAME)


def _decode(data: bytes) -> Pending:
    fields: dict[str, Any] = json.loads(data)
    if fields.pop("schema_version") != SCHEMA_VERSION:
        raise ValueError("its version is unknown")
    _check(fields)
    return Pending(**fields)


def _check(fields: dict[str, Any]) -> None:
    """Raises ValueError or KeyError for what is missing or of another kind."""
    numbers = [fields["generation"], *([] if fields["fallback"] is None else [fields["fallback"]])]
    kinds = (("checked", bool), ("boot", str), ("until_wall", str), ("since", float), ("until", float))
    wrong = [name for name, kind in kinds if not isinstance(fields[name], kind)]
    wrong += [str(number) for number in numbers if not _is_number(number)]
    patterns = (("digest", DIGEST), ("nonce", NONCE))
    wrong += [name for name, pattern in patterns if not pattern.fullmatch(fields[name])]
    if wrong:
        raise ValueError(f"{wrong[0]} is of another kind")


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _NUMBER_MAX
