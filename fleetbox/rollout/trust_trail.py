"""Changes of trust in the audit trail: who had what signed, in which versions, by which keys. Never a secret.

Written before anything is published, so what cannot be recorded is not done. A change that was recorded as
published and killed on the way is published by the next command.
"""

from pathlib import Path
from typing import Any

from fleetbox.rollout.audit import AuditTrail, who
from fleetbox.trust import Trust
from fleetbox.trust.witness import Deed, Witness

EVENT = "trust_"
_ITEMS_MAX = 200  # of a list: no record may be as large as a fleet of teams could make it


def recorded(state_dir: Path) -> Trust:
    """The trust of a state directory, whose changes are recorded there."""
    return Trust(state_dir, witness=witness(AuditTrail(state_dir)))


def witness(trail: AuditTrail) -> Witness:
    """Writes every deed to `trail`. Raises UsageError where that cannot be."""

    def record(deed: Deed) -> None:
        said: dict[str, Any] = {
            name: list(value)[:_ITEMS_MAX] if isinstance(value, tuple) else value
            for name, value in deed._asdict().items()
            if value
        }
        trail.record(f"{EVENT}{said.pop('event')}", **who(), **said)

    return record
