"""Publishing: new documents, then the snapshot and the timestamp that lead to them, then a new root.

A reader follows the timestamp, so whatever it does not lead to yet does not exist. A new root comes last and
everything before it is signed for the old root, too, by the keys that are still here: a client verifies the
repository whichever of the two it has, and so whenever the writer is killed.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from fleetbox.errors import TrustRefused
from fleetbox.trust import durable
from fleetbox.trust.keys import KeyRing
from fleetbox.trust.places import Places
from fleetbox.trust.roles import ROOT, SNAPSHOT, TIMESTAMP, Lifetimes
from fleetbox.trust.view import View, file_name

FACTS = "fleetbox"


class Online(NamedTuple):
    """What signing online takes: where, with which keys, at what time."""

    places: Places
    ring: KeyRing
    now: datetime
    lifetimes: Lifetimes


class Update(NamedTuple):
    """What is new in one repository. `generation`: the counter of assignments, where it grew."""

    repository: str
    documents: Mapping[str, Metadata[Targets]]
    root: Metadata[Root] | None = None
    generation: int | None = None


def publish(online: Online, update: Update, view: View | None) -> None:
    """Make `update` what clients see next. `view`: what they see now; None before the first time."""
    folder = online.places.metadata(update.repository)
    roots = [metadata for metadata in (update.root, view.root if view else None) if metadata]
    snapshot = _snapshot(update, view, online)
    sign(snapshot, SNAPSHOT, roots, online.ring)
    timestamp = Metadata(
        Timestamp(
            version=view.timestamp.signed.version + 1 if view else 1,
            expires=online.now + online.lifetimes.online,
            snapshot_meta=MetaFile(snapshot.signed.version),
        )
    )
    sign(timestamp, TIMESTAMP, roots, online.ring)
    first: dict[Path, bytes] = {
        folder / file_name(role, document.signed.version): document.to_bytes()
        for role, document in update.documents.items()
    }
    first[folder / file_name(SNAPSHOT, snapshot.signed.version)] = snapshot.to_bytes()
    durable.write(first)
    if update.root is not None and view is None:
        _write_root(folder, update.root)  # without a timestamp nothing is published yet
    durable.write({folder / file_name(TIMESTAMP): timestamp.to_bytes()})
    if update.root is not None and view is not None:
        _write_root(folder, update.root)


def sign(
    metadata: Metadata[Snapshot] | Metadata[Timestamp] | Metadata[Targets],
    role: str,
    roots: Iterable[Metadata[Root]],
    ring: KeyRing,
) -> None:
    """Sign for each of `roots`, the one in force first, with every key that is here.

    Raises TrustRefused when that is not enough for the first.
    """
    first, *_ = chosen = [root.signed for root in roots]
    keys = {keyid: root.keys[keyid] for root in chosen for keyid in root.roles[role].keyids}
    sign_with(metadata, ring.signers(keys.values()))
    if not first.get_verification_result(role, metadata.signed_bytes, metadata.signatures):
        raise key_missing(role, (first.keys[keyid] for keyid in first.roles[role].keyids), ring)


def sign_with(
    metadata: Metadata[Snapshot] | Metadata[Timestamp] | Metadata[Targets], signers: Iterable[Signer]
) -> None:
    """Replace the signatures by those of `signers`."""
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)


def key_missing(role: str, keys: Iterable[Key], ring: KeyRing) -> TrustRefused:
    """The refusal to sign a role online without a key of it."""
    names = ", ".join(ring.known(key.keyid).name or key.keyid[:12] for key in keys)
    return TrustRefused(
        f"no key that signs {role} is on this machine; it takes one of: {names}",
        hint="restore it from a backup, or replace it: fleetbox trust rotate OLD (docs/trust.md, Lost key)",
    )


def target_file(path: str, data: bytes) -> TargetFile:
    """What a targets role says of a file."""
    return TargetFile.from_data(path, data, ["sha256"])


def target_path(folder: Path, target: TargetFile) -> Path:
    """Where the file lies, under consistent snapshots."""
    parent, _, name = target.path.rpartition("/")
    return folder / parent / f"{target.hashes['sha256']}.{name}"


def generation_of(view: View) -> int:
    """The highest generation that was ever assigned: kept in the signed snapshot, as it must never shrink."""
    facts = view.snapshot.signed.unrecognized_fields.get(FACTS)
    number = facts.get("generation") if isinstance(facts, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) else 0


def _snapshot(update: Update, view: View | None, online: Online) -> Metadata[Snapshot]:
    meta = dict(view.snapshot.signed.meta) if view else {}
    meta |= {f"{role}.json": MetaFile(document.signed.version) for role, document in update.documents.items()}
    generation = update.generation or (generation_of(view) if view else 0)
    return Metadata(
        Snapshot(
            version=view.snapshot.signed.version + 1 if view else 1,
            expires=online.now + online.lifetimes.online,
            meta=meta,
            unrecognized_fields={FACTS: {"generation": generation}} if generation else {},
        )
    )


def _write_root(folder: Path, root: Metadata[Root]) -> None:
    durable.write({folder / file_name(ROOT, root.signed.version): root.to_bytes()})
