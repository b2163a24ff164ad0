"""What is told to whoever keeps a record, before it is done: who would publish unseen must stop this first.

The command line and pushes give a witness that writes the audit trail; trust itself knows of none. An error
that the witness raises ends the operation, and nothing was changed.
"""

from collections.abc import Callable
from typing import NamedTuple

from fleetbox.trust.change import Change, needs
from fleetbox.trust.describe import signers_of


class Deed(NamedTuple):
    """`event`: a word for machines. `summary`: of a change, as its maker wrote it; `change`: its id.

    `documents` have the versions that are about to be; `signers` say, by key ids, who signs what from then
    on; `signed_by` has the ids of the keys that signed the change.
    """

    event: str
    summary: str
    change: str = ""
    documents: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()
    signed_by: tuple[str, ...] = ()


Witness = Callable[[Deed], None]


def nobody(_deed: Deed) -> None:
    """For who only looks, or keeps a record of another kind."""


def of_change(change: Change) -> Deed:
    """A change is about to be published, or kept until it has all signatures."""
    return _deed("waits" if needs(change) else "published", change)


def of_dropped(change: Change) -> Deed:
    """A change is about to be given up."""
    return _deed("dropped", change)


def _deed(event: str, change: Change) -> Deed:
    documents = sorted(change.documents.items(), key=lambda item: item[0])
    signatures = {keyid for _, metadata in documents for keyid in metadata.signatures}
    return Deed(
        event,
        change.summary,
        change.id,
        tuple(f"{place.repository} {place.role} {metadata.signed.version}" for place, metadata in documents),
        tuple(signers_of(change)),
        tuple(sorted(signatures)),
    )
