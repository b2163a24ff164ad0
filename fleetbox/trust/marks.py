"""What only grows and TUF has no field for: kept in the signed snapshots, where nothing can lose it.

Hosts remember the same of the assignments they have verified, and forget it by the same rule: when a new
root takes so many keys away that nothing signed before has enough signatures any more (`hostside.floor`).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from tuf.api.metadata import Root

from fleetbox.errors import TrustRefused
from fleetbox.hostside import signed_time
from fleetbox.hostside.release import NUMBER_MAX
from fleetbox.trust.roles import TARGETS
from fleetbox.trust.view import View

_FIELD = "fleetbox"


class Marks(NamedTuple):
    """How far a repository has gone.

    `generation`: the highest that was assigned; `issued`: the newest time of an assignment, "" before the
    first; `release`: numbers of releases up to this one are used up, whatever releases are there.
    """

    generation: int = 0
    issued: str = ""
    release: int = 0

    def raised(self, other: "Marks") -> "Marks":
        """The higher of each. Times of one format compare like their texts."""
        return Marks(
            max(self.generation, other.generation),
            max(self.issued, other.issued),
            max(self.release, other.release),
        )

    @property
    def newest(self) -> datetime | None:
        """`issued` as a time."""
        return signed_time.parse(self.issued) if self.issued else None


def of(view: View | None) -> Marks:
    """The marks of a repository; none before anything was published. Raises TrustRefused."""
    said: object = view.snapshot.signed.unrecognized_fields.get(_FIELD, {}) if view else {}
    try:
        return _decoded(said)
    except (ValueError, TypeError) as problem:
        raise TrustRefused(
            f"the snapshot says what none may of {_FIELD!r}: {problem}",
            hint="restore the state directory from a backup (docs/trust.md)",
        ) from problem


def fields(marks: Marks) -> dict[str, Any]:
    """What a snapshot carries of them."""
    said = {name: value for name, value in marks._asdict().items() if value}
    return {_FIELD: said} if said else {}


def forgotten(before: Root, after: Root) -> bool:
    """Whether nothing that the keys of `before` signed as targets has enough signatures for `after`."""
    left = set(before.roles[TARGETS].keyids) & set(after.roles[TARGETS].keyids)
    return len(left) < after.roles[TARGETS].threshold


def _decoded(said: object) -> Marks:
    if not isinstance(said, Mapping):
        raise TypeError("no object")
    marks = Marks(**{name: said[name] for name in Marks._fields if name in said})
    for name in ("generation", "release"):
        number = getattr(marks, name)
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= NUMBER_MAX:
            raise ValueError(f"{name} is {number!r:.80}")
    if marks.issued:
        signed_time.parse(marks.issued)
    return marks
