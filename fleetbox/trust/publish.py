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
from fleetbox.hostside.release import NUMBER_MAX
from fleetbox.trust import durable, marks
from fleetbox.trust.keys import KeyRing
from fleetbox.trust.marks import Marks
from fleetbox.trust.places import Places
from fleetbox.trust.roles import ROOT, SNAPSHOT, TIMESTAMP, Lifetimes
from fleetbox.trust.view import View, file_name


class Online(NamedTuple):
    """What signing online takes: where, with which keys, at what time."""

    places: Places
    ring: KeyRing
    now: datetime
    lifetimes: Lifetimes


class Update(NamedTuple):
    """What is new in one repository. `marks`: what of them grew. `step`: by how much versions go up."""

    repository: str
    documents: Mapping[str, Metadata[Targets]]
    root: Metadata[Root] | None = None
    marks: Marks = Marks()
    step: int = 1


def publish(online: Online, update: Update, view: View | None) -> None:
    """Make `update` what clients see next. `view`: what they see now; None before the first time.

    Raises TrustRefused for a missing key, and where version numbers have run out.
    """
    folder = online.places.metadata(update.repository)
    roots = [metadata for metadata in (update.root, view.root if view else None) if metadata]
    snapshot = _snapshot(update, view, online)
    sign(snapshot, SNAPSHOT, roots, online.ring)
    timestamp = Metadata(
        Timestamp(
            version=_next(view.timestamp.signed.version, update.step) if view else 1,
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


def check_version(number: int, what: str) -> None:
    """Raises TrustRefused for one that no file that is sent to a host may have."""
    if number > NUMBER_MAX:
        raise TrustRefused(
            f"{what} would be version {number}; there is none above {NUMBER_MAX}",
            hint="set trust up anew in another state directory, and provision the hosts again",
        )


def _snapshot(update: Update, view: View | None, online: Online) -> Metadata[Snapshot]:
    meta = dict(view.snapshot.signed.meta) if view else {}
    meta |= {f"{role}.json": MetaFile(document.signed.version) for role, document in update.documents.items()}
    for name, file in meta.items():
        check_version(file.version, name)
    return Metadata(
        Snapshot(
            version=_next(view.snapshot.signed.version, update.step) if view else 1,
            expires=online.now + online.lifetimes.online,
            meta=meta,
            unrecognized_fields=marks.fields(_marks(update, view)),
        )
    )


def _marks(update: Update, view: View | None) -> Marks:
    """The marks from now on. Those of assignments are forgotten when the keys that made them are."""
    old = marks.of(view)
    if view and update.root and marks.forgotten(view.root.signed, update.root.signed):
        old = Marks(release=old.release)
    return old.raised(update.marks)


def _next(version: int, step: int) -> int:
    check_version(version + step, "the timestamp or snapshot")
    return version + step


def _write_root(folder: Path, root: Metadata[Root]) -> None:
    durable.write({folder / file_name(ROOT, root.signed.version): root.to_bytes()})
