"""A change being drafted: edit the roles, then take the documents that must be signed for it.

What an edit makes invalid elsewhere is drafted along: new keys of `targets` need `targets` signed again
unless enough of those that signed it stay, and likewise for teams. A team that has no release yet has
signed nothing, and need not.
"""

from datetime import datetime
from typing import cast

from tuf.api.metadata import Metadata, Root, Targets

from fleetbox.hostside.release import ASSIGNMENT_REPOSITORY, POLICY_REPOSITORY
from fleetbox.trust.change import AnyMetadata, Documents, Place
from fleetbox.trust.publish import check_version
from fleetbox.trust.roles import ROOT, TARGETS, Lifetimes, delegated_roles

POLICY_ROOT = Place(POLICY_REPOSITORY, ROOT)
POLICY_TARGETS = Place(POLICY_REPOSITORY, TARGETS)
ASSIGNMENT_ROOT = Place(ASSIGNMENT_REPOSITORY, ROOT)


class Draft:
    """Copies of what is in force; `base` is empty before the first change."""

    def __init__(self, base: Documents) -> None:
        self._base = base
        self._signed = {place: _copy(metadata).signed for place, metadata in base.items()}
        self._renewed: set[Place] = set()

    def begin(self, place: Place, signed: Root | Targets) -> None:
        """Add the first version of a role."""
        self._signed[place] = signed

    def roots(self) -> dict[str, Root]:
        """The root of each repository, to be edited."""
        return {p.repository: signed for p, signed in self._signed.items() if isinstance(signed, Root)}

    def targets(self, role: str = TARGETS) -> Targets:
        """A targets role of the policy repository, to be edited; an empty one where it has none yet."""
        found = self._signed.setdefault(Place(POLICY_REPOSITORY, role), Targets())
        return cast(Targets, found)

    def renew(self, place: Place) -> None:
        """Have a document signed again although it says the same."""
        self._renewed.add(place)

    def documents(self, now: datetime, lifetimes: Lifetimes, *, step: int = 1) -> Documents:
        """What must be signed, with its new versions and expiries; nothing where nothing was changed.

        `step`: by how much versions go up, except those of roots.
        """
        changed = {place for place, signed in self._signed.items() if self._is_new(place, signed)}
        if not self._holds(POLICY_ROOT, POLICY_TARGETS):
            changed.add(POLICY_TARGETS)
        for role in delegated_roles(self.targets()):
            place = Place(POLICY_REPOSITORY, role)
            if place in self._base and not self._holds(POLICY_TARGETS, place):
                changed.add(place)
        return {place: self._finished(place, now + lifetimes.offline, step) for place in sorted(changed)}

    def _is_new(self, place: Place, signed: Root | Targets) -> bool:
        base = self._base.get(place)
        return base is None or base.signed != signed or place in self._renewed

    def _holds(self, parent: Place, place: Place) -> bool:
        """Whether what is published of `place` is signed well enough for what `parent` now says."""
        metadata, delegator = self._base.get(place), self._signed[parent]
        return metadata is not None and bool(
            delegator.get_verification_result(place.role, metadata.signed_bytes, metadata.signatures)
        )

    def _finished(self, place: Place, expires: datetime, step: int) -> AnyMetadata:
        signed, base = self._signed[place], self._base.get(place)
        signed.version = (base.signed.version if base else 0) + (1 if place.role == ROOT else step)
        signed.expires = expires
        check_version(signed.version, place.role)
        if isinstance(signed, Root):
            return Metadata(signed)
        return Metadata(signed)


def _copy(metadata: AnyMetadata) -> AnyMetadata:
    return Metadata.from_bytes(metadata.to_bytes())
