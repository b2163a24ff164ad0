"""One whole state of a repository, as a client sees it: read through timestamp and snapshot.

Versioned files never change once a timestamp leads to them, so a view stays whole while others publish.
What was read is kept: a push asks one view for thousands of hosts.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from fleetbox.errors import TrustRefused
from fleetbox.trust import durable
from fleetbox.trust.roles import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, delegated_roles

METADATA_LIMIT = 5_000_000  # bytes: what python-tuf's client reads of targets at most
_S = TypeVar("_S", Root, Timestamp, Snapshot, Targets)


def file_name(role: str, version: int | None = None) -> str:
    """The name of a metadata file, under consistent snapshots."""
    encoded = quote(role, "")
    return f"{encoded}.json" if version is None else f"{version}.{encoded}.json"


class View:
    """Reads lazily; raises TrustRefused where a file is missing or damaged."""

    def __init__(self, metadata: Path) -> None:
        self._folder = metadata
        self._bytes: dict[str, bytes] = {}
        self._parsed: dict[str, Metadata[Targets]] = {}
        self.roots = tuple(self._roots())
        self.root: Metadata[Root] = self._parse(self.roots[-1], file_name(ROOT, len(self.roots)), Root)
        timestamp = file_name(TIMESTAMP)
        self.timestamp: Metadata[Timestamp] = self._parse(self.read(timestamp), timestamp, Timestamp)
        snapshot = file_name(SNAPSHOT, self.timestamp.signed.snapshot_meta.version)
        self.snapshot: Metadata[Snapshot] = self._parse(self.read(snapshot), snapshot, Snapshot)

    @staticmethod
    def exists(metadata: Path) -> bool:
        """Whether anything was published there."""
        return (metadata / file_name(TIMESTAMP)).exists() and (metadata / file_name(ROOT, 1)).exists()

    def read(self, name: str) -> bytes:
        """The bytes of a metadata file."""
        if name not in self._bytes:
            try:
                self._bytes[name] = durable.read(self._folder / name, METADATA_LIMIT)
            except OSError as problem:
                raise TrustRefused(
                    f"{self._folder / name} cannot be read: {problem.strerror}",
                    hint="restore the state directory from a backup (docs/trust.md)",
                ) from problem
        return self._bytes[name]

    def version(self, role: str) -> int:
        """The version of a targets role; 0 where there is none yet."""
        meta = self.snapshot.signed.meta.get(f"{role}.json")
        return meta.version if meta else 0

    def name_of(self, role: str) -> str:
        """The file that holds a targets role now."""
        return file_name(role, self.version(role))

    def targets(self, role: str = TARGETS) -> Metadata[Targets]:
        """A targets role. Do not change what this returns."""
        name = self.name_of(role)
        if name not in self._parsed:
            self._parsed[name] = self._parse(self.read(name), name, Targets)
        return self._parsed[name]

    def delegated(self) -> dict[str, Metadata[Targets]]:
        """The roles that are delegated to by name, those that have signed something."""
        return {
            role: self.targets(role) for role in delegated_roles(self.targets().signed) if self.version(role)
        }

    def check(self) -> None:
        """Verify every signature but those of bins. Raises TrustRefused."""
        try:
            self._check()
        except (RepositoryError, ValueError) as problem:
            raise TrustRefused(
                f"{self._folder} does not verify: {problem}",
                hint="somebody changed it, or a disk did: restore it from a backup (docs/trust.md)",
            ) from problem

    def _check(self) -> None:
        trusted: Root | None = None
        for number, data in enumerate(self.roots, 1):
            root = self._parse(data, file_name(ROOT, number), Root)
            (trusted or root.signed).verify_delegate(ROOT, root.signed_bytes, root.signatures)
            root.signed.verify_delegate(ROOT, root.signed_bytes, root.signatures)
            trusted = root.signed
        top = self.root.signed
        for role, metadata in (
            (TIMESTAMP, self.timestamp),
            (SNAPSHOT, self.snapshot),
            (TARGETS, self.targets()),
        ):
            top.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        for role, metadata in self.delegated().items():
            self.targets().signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)

    def _roots(self) -> Iterator[bytes]:
        number = 1
        while (self._folder / file_name(ROOT, number)).exists():
            yield self.read(file_name(ROOT, number))
            number += 1

    def _parse(self, data: bytes, name: str, kind: type[_S]) -> Metadata[_S]:
        try:
            metadata = Metadata[_S].from_bytes(data)
        except (DeserializationError, ValueError) as problem:
            raise TrustRefused(f"{self._folder / name} was damaged: {problem}") from problem
        if not isinstance(metadata.signed, kind):
            raise TrustRefused(f"{self._folder / name} is of kind {metadata.signed.type}")
        return metadata
