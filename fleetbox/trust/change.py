"""A change to what offline keys sign: documents that may lack signatures, and can be carried to a key.

The file of a change holds all that a machine with a key needs to show what it signs: the new documents and
those they follow. Its name is the hash of what is signed, so signatures of two copies can be joined and
nothing else of a copy counts.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Metadata, Root, Targets, VerificationResult

from fleetbox.errors import TrustRefused, UsageError
from fleetbox.hostside.release import POLICY_REPOSITORY
from fleetbox.trust.places import REPOSITORIES
from fleetbox.trust.roles import ROOT, TARGETS

SCHEMA_VERSION = 1
CHANGE_LIMIT = 16 * 1024 * 1024  # bytes

AnyMetadata = Metadata[Root] | Metadata[Targets]


class Place(NamedTuple):
    """Which document: of which repository, of which role."""

    repository: str
    role: str


Documents = dict[Place, AnyMetadata]


class Change(NamedTuple):
    """`documents`: what is new. `base`: what is in force, where that is needed; empty before the first."""

    summary: str
    made: str
    documents: Documents
    base: Documents

    @property
    def id(self) -> str:
        """Twelve digits that name exactly this content, whoever signed it."""
        hashed = hashlib.sha256()
        for place in sorted(self.documents):
            hashed.update("/".join(place).encode() + b"\0" + self.documents[place].signed_bytes + b"\0")
        return hashed.hexdigest()[:12]


class Need(NamedTuple):
    """What a document still lacks: `missing` more signatures, each by one of `keys`."""

    place: Place
    missing: int
    keys: tuple[Key, ...]


def needs(change: Change) -> tuple[Need, ...]:
    """What is missing until the change may be published; empty when nothing is."""
    found = []
    for place, metadata in change.documents.items():
        results = list(_results(change, place, metadata))
        missing = max(result.missing for result in results)
        if missing:
            keys = {keyid: key for result in results if not result for keyid, key in result.unsigned.items()}
            found.append(Need(place, missing, tuple(keys.values())))
    return tuple(found)


def eligible(change: Change, place: Place) -> tuple[Key, ...]:
    """Keys whose signature on a document counts, now or for a client that has not seen the new root."""
    results = list(_results(change, place, change.documents[place]))
    if place.role == TARGETS and (old := _root(change.base, place.repository)):
        results.append(_result(old, place.role, change.documents[place]))
    keys = {keyid: key for result in results for keyid, key in (result.signed | result.unsigned).items()}
    return tuple(keys.values())


def sign(change: Change, signers: Iterable[Signer]) -> Change:
    """The change with the signatures of those signers whose keys count."""
    documents = _copied(change.documents)
    by_key = {_identity(signer.public_key): signer for signer in signers}
    for place, metadata in documents.items():
        for key in eligible(change, place):
            signer = by_key.get(_identity(key))
            if signer and key.keyid not in metadata.signatures:
                metadata.sign(signer, append=True)
    return change._replace(documents=documents)


def join(change: Change, other: Change) -> Change:
    """The change with those signatures of a copy that verify. Raises UsageError for another change."""
    if other.id != change.id:
        raise UsageError(f"the file is change {other.id}, not {change.id}")
    documents = _copied(change.documents)
    for place, metadata in documents.items():
        known = {key.keyid: key for key in eligible(change, place)}
        for keyid, signature in other.documents[place].signatures.items():
            if keyid in known and keyid not in metadata.signatures:
                metadata.signatures[keyid] = signature
                if not any(keyid in result.signed for result in _all_results(change, place, metadata)):
                    del metadata.signatures[keyid]
    return change._replace(documents=documents)


def encode(change: Change) -> bytes:
    """The file of a change."""
    whole = {
        "fleetbox_change": SCHEMA_VERSION,
        "id": change.id,
        "summary": change.summary,
        "made": change.made,
        "documents": list(_encoded(change.documents)),
        "base": list(_encoded(change.base)),
    }
    return (json.dumps(whole, sort_keys=True) + "\n").encode("ascii")


def decode(data: bytes, shown: str) -> Change:
    """Raises TrustRefused; `shown` is what the message calls the file."""
    try:
        if len(data) > CHANGE_LIMIT:
            raise ValueError(f"larger than {CHANGE_LIMIT} bytes")
        whole = json.loads(data)
        if whole["fleetbox_change"] != SCHEMA_VERSION:
            raise ValueError("of a version that this program does not know")
        documents, base = _decoded(whole["documents"]), _decoded(whole["base"])
        change = Change(str(whole["summary"]), str(whole["made"]), documents, base)
        if not documents or change.id != whole["id"]:
            raise ValueError("not what its id says")
        for place, metadata in documents.items():
            _results(change, place, metadata)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise TrustRefused(
            f"{shown} is no change that can be signed: {problem}",
            hint="remove it, and make the change again on the control machine",
        ) from problem
    return change


def _results(change: Change, place: Place, metadata: AnyMetadata) -> Iterator[VerificationResult]:
    """Every threshold that the document must meet."""
    results: list[VerificationResult] = []
    new_root = _root(change.documents, place.repository)
    old_root = _root(change.base, place.repository)
    if place.role == ROOT:
        results = [_result(root, ROOT, metadata) for root in (old_root, new_root) if root]
    elif place.role == TARGETS:
        root = new_root or old_root
        results = [_result(root, TARGETS, metadata)] if root else []
    else:
        parent = change.documents.get(Place(place.repository, TARGETS)) or change.base.get(
            Place(place.repository, TARGETS)
        )
        if parent is not None and isinstance(parent.signed, Targets):
            results = [_result(parent.signed, place.role, metadata)]
    if not results:
        raise ValueError(f"nothing says who signs {place.role}")
    return iter(results)


def _all_results(change: Change, place: Place, metadata: AnyMetadata) -> Iterator[VerificationResult]:
    yield from _results(change, place, metadata)
    if place.role == TARGETS and (old := _root(change.base, place.repository)):
        yield _result(old, TARGETS, metadata)


def _result(delegator: Root | Targets, role: str, metadata: AnyMetadata) -> VerificationResult:
    return delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)


def _root(documents: Documents, repository: str) -> Root | None:
    metadata = documents.get(Place(repository, ROOT))
    return metadata.signed if metadata is not None and isinstance(metadata.signed, Root) else None


def _identity(key: Key) -> tuple[str, str]:
    return key.scheme, str(key.keyval.get("public"))


def _copied(documents: Documents) -> Documents:
    return {place: Metadata.from_bytes(metadata.to_bytes()) for place, metadata in documents.items()}


def _encoded(documents: Documents) -> Iterator[dict[str, Any]]:
    for place, metadata in sorted(documents.items(), key=lambda item: item[0]):
        yield {"repository": place.repository, "role": place.role, "metadata": metadata.to_dict()}


def _decoded(entries: list[dict[str, Any]]) -> Documents:
    documents: Documents = {}
    for entry in entries:
        place = Place(str(entry["repository"]), str(entry["role"]))
        metadata: AnyMetadata = Metadata.from_dict(entry["metadata"])
        kind = Root if place.role == ROOT else Targets
        if place.repository not in REPOSITORIES or not isinstance(metadata.signed, kind):
            raise ValueError(f"{place.role!r:.80} of {place.repository!r:.80} is not what it should be")
        if place.repository != POLICY_REPOSITORY and place.role != ROOT:
            raise ValueError("only the root of the assignment repository is signed offline")
        documents[place] = metadata
    return documents
