"""Two signed repositories made with python-tuf's Metadata API, and a host that trusts them.

Everything is real but small: keys are made in memory, files stay in dictionaries. A test that wants something
wrong changes the objects between `sign` and `part`, or signs with other keys.
"""

import copy
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from fleetbox.hostside import (
    delivery,
    floor,
    generations,
    manifest,
    paths,
    release,
    sources,
    trust_words,
    verify,
)
from fleetbox.hostside.delivery import Delivery, Part
from fleetbox.hostside.errors import Exit, HostError
from fleetbox.hostside.floor import Floor
from fleetbox.hostside.paths import Places
from fleetbox.hostside.release import Assignment, ReleaseName
from fleetbox.hostside.sources import Sources
from fleetbox.hostside.state import locked
from fleetbox.hostside.verify import Verified
from tests.support import bundles
from tests.support.bundles import Built

TOP = ("root", "timestamp", "snapshot", "targets")
HOST = "host-1.example.org"
NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
ISSUED = "2026-11-22T01:00:00Z"


class Repository:
    """One repository: its keys by role, its metadata, and every file it ever published."""

    def __init__(
        self, thresholds: dict[str, int] | None = None, *, expires: datetime = NOW + timedelta(7)
    ) -> None:
        thresholds = thresholds or {}
        self.signers = {
            role: [CryptoSigner.generate_ed25519() for _ in range(thresholds.get(role, 1))] for role in TOP
        }
        self.root = Metadata(Root(expires=NOW + timedelta(365), consistent_snapshot=True))
        self.timestamp = Metadata(Timestamp(expires=expires))
        self.snapshot = Metadata(Snapshot(expires=expires))
        self.targets = Metadata(Targets(expires=expires))
        self.delegated: dict[str, Metadata[Targets]] = {}
        self.files: dict[str, bytes] = {}
        self.contents: dict[str, bytes] = {}
        self._grant()
        for metadata in (self.timestamp, self.snapshot, self.targets):
            metadata.signed.version = 0
        self.sign_root()

    def put(self, path: str, data: bytes, custom: Any = None, *, role: str = "targets") -> None:
        """Make `data` a target; signed by the next `publish`."""
        target = TargetFile.from_data(path, data, ["sha256"])
        if custom is not None:
            target.unrecognized_fields["custom"] = custom
        self._role(role).signed.targets[path] = target
        self.contents[path] = data

    def delegate(self, role: str, pattern: str) -> None:
        """A team's role, with a key of its own."""
        signer = CryptoSigner.generate_ed25519()
        self.signers[role] = [signer]
        delegations = self.targets.signed.delegations or Delegations({}, {})
        delegations.roles[role] = DelegatedRole(role, [], 1, terminating=True, paths=[pattern])
        self.targets.signed.delegations = delegations
        self.targets.signed.add_key(signer.public_key, role)
        self.delegated[role] = Metadata(Targets(expires=self.targets.signed.expires))
        self.delegated[role].signed.version = 0

    def publish(self, *, roles: Iterable[str] = ("targets", "snapshot", "timestamp")) -> "Repository":
        """New versions of `roles` and of everything delegated, signed by their keys."""
        if "targets" in roles:
            for role in (*self.delegated, "targets"):
                self._sign_targets(role)
        if "snapshot" in roles:
            self.snapshot.signed.version += 1
            self._write("snapshot", self.snapshot)
        if "timestamp" in roles:
            self.timestamp.signed.version += 1
            self.timestamp.signed.snapshot_meta = MetaFile(self.snapshot.signed.version)
            self._write("timestamp", self.timestamp)
        return self

    def sign_root(self, *, extra: Iterable[CryptoSigner] = ()) -> None:
        """Publish the root file as it is, signed by its keys and `extra` ones."""
        self._write("root", self.root, extra)

    def rotate(self, *roles: str) -> None:
        """A new root file in which new keys have taken the place of the old ones of `roles`."""
        before = list(self.signers["root"])
        for role in roles:
            self.signers[role] = [CryptoSigner.generate_ed25519() for _ in self.signers[role]]
        self.root.signed.version += 1
        self._grant()
        self.sign_root(extra=before)

    def add_key(self, role: str) -> None:
        """A new root file that names one more key for `role`."""
        signer = CryptoSigner.generate_ed25519()
        self.root.signed.version += 1
        self.root.signed.add_key(signer.public_key, role)
        self.sign_root()

    def expire(self, role: str, when: datetime) -> None:
        """Let a role's next version expire then."""
        getattr(self, role).signed.expires = when

    def part(self) -> Part:
        """The newest of everything, and the roots after the first: what a push sends."""
        wanted = {name: data for name, data in self.files.items() if name.endswith(".root.json")}
        wanted["timestamp.json"] = self.files["timestamp.json"]
        snapshot = f"{self.snapshot.signed.version}.snapshot.json"
        wanted[snapshot] = self.files[snapshot]
        for role in ("targets", *self.delegated):
            name = f"{self._role(role).signed.version}.{quoted(role)}.json"
            wanted[name] = self.files[name]
        small = [data for path, data in self.contents.items() if path.endswith(".json")]
        return delivery.part(wanted, small)

    def anchor(self) -> bytes:
        return self.files["1.root.json"]

    def copy(self) -> "Repository":
        """The same keys and files, to go another way from here."""
        other = copy.copy(self)
        for name in ("root", "timestamp", "snapshot", "targets"):
            setattr(other, name, Metadata.from_bytes(getattr(self, name).to_bytes()))
        other.delegated = {
            role: Metadata.from_bytes(data.to_bytes()) for role, data in self.delegated.items()
        }
        other.signers = {role: list(signers) for role, signers in self.signers.items()}
        other.files, other.contents = dict(self.files), dict(self.contents)
        return other

    def _role(self, role: str) -> "Metadata[Targets]":
        return self.targets if role == "targets" else self.delegated[role]

    def _grant(self) -> None:
        root = self.root.signed
        for role in TOP:
            for keyid in list(root.roles[role].keyids):
                root.revoke_key(keyid, role)
            for signer in self.signers[role]:
                root.add_key(signer.public_key, role)
            root.roles[role].threshold = len(self.signers[role])

    def _sign_targets(self, role: str) -> None:
        metadata = self._role(role)
        metadata.signed.version += 1
        self.snapshot.signed.meta[f"{role}.json"] = MetaFile(metadata.signed.version)
        self._write(role, metadata)

    def _write(self, role: str, metadata: "Metadata[Any]", extra: Iterable[CryptoSigner] = ()) -> None:
        metadata.signatures.clear()
        for signer in (*self.signers[role], *extra):
            metadata.sign(signer, append=True)
        prefix = "" if role == "timestamp" else f"{metadata.signed.version}."
        self.files[f"{prefix}{quoted(role)}.json"] = metadata.to_bytes()


def quoted(role: str) -> str:
    """A role's name in a file's."""
    return quote(role, "")


class Published(NamedTuple):
    """A release, and the bundle that it is."""

    name: ReleaseName
    built: Built

    @property
    def target(self) -> str:
        return release.release_target(self.name)


class Fleet:
    """Both repositories, as a control machine keeps them."""

    def __init__(self, thresholds: dict[str, int] | None = None) -> None:
        self.policy = Repository(thresholds)
        self.assignment = Repository()
        self.policy.put(release.FLOOR_TARGET, release.encode_floor(1))
        self.policy.publish()
        self.assignment.publish()

    def release(
        self, number: int, name: str = "", *, team: str = release.DEFAULT_TEAM, role: str = "targets"
    ) -> Published:
        """Build and sign a bundle; another number is another bundle."""
        built = bundles.build(name or f"release-{number}")
        published = Published(ReleaseName(team, number), built)
        self.policy.put(published.target, built.tar, release.encode_custom([]), role=role)
        self.policy.publish()
        return published

    def min_release(self, number: int) -> None:
        self.policy.put(release.FLOOR_TARGET, release.encode_floor(number))
        self.policy.publish()

    def assign(self, published: Published, generation: int, **fields: Any) -> Delivery:
        """Assign, sign and deliver; `fields` replace those of the assignment, `at` the host's path."""
        at = fields.pop("at", HOST)
        said = Assignment(HOST, generation, published.target, published.built.digest, ISSUED)._replace(
            **fields
        )
        self.assignment.put(release.assignment_target(at), release.encode_assignment(said))
        self.assignment.publish()
        return self.delivery(published)

    def delivery(self, published: Published | None = None) -> Delivery:
        return Delivery(self.policy.part(), self.assignment.part(), published and published.built.tar)

    def anchor(self, root: Path, *, host_id: str = HOST, **config: Any) -> None:
        """What the roles install on a host below `root`."""
        anchors = root / paths.ANCHORS.lstrip("/")
        anchors.mkdir(parents=True, exist_ok=True)
        for name in ("policy", "assignment"):
            (anchors / f"{name}.root.json").write_bytes(getattr(self, name).anchor())
        text = manifest.encode({"host_id": host_id, **config})
        (root / paths.HOST_CONFIG.lstrip("/")).write_bytes(text)


class TrustingHost:
    """A directory that plays a host on which the roles have installed the anchors of a fleet."""

    def __init__(self, root: Path, fleet: Fleet | None = None, **config: Any) -> None:
        """Without a fleet, `root` is one already."""
        self.places = Places(str(root))
        self.state = Path(self.places.under(paths.STATE))
        if fleet:
            self.state.parent.mkdir(parents=True)
            fleet.anchor(root, **config)

    def verify(self, sent: Delivery | Sources | bytes, *, wall: datetime = NOW) -> Verified:
        """What the program says of it; a delivery goes through its bytes, as it would by a push."""
        if not isinstance(sent, Sources):
            sent = sources.sent(delivery.read(sent if isinstance(sent, bytes) else delivery.write(sent)))
        with locked(self.places) as state:
            generations.sweep(state)
            return verify.verify(self.places, state, sent, wall=wall)

    def accept(self, verified: Verified) -> None:
        with locked(self.places) as state:
            verify.accept(state, verified)

    def take(self, sent: Delivery, *, wall: datetime = NOW) -> Verified:
        """Verify, and accept as after an activation that went well."""
        verified = self.verify(sent, wall=wall)
        self.accept(verified)
        return verified

    def refusal(self, sent: Delivery | Sources | bytes, *, wall: datetime = NOW) -> HostError:
        """How it is refused: always with exit 6, words and a hint."""
        with pytest.raises(HostError) as raised:
            self.verify(sent, wall=wall)
        refused = raised.value
        assert refused.exit_code == Exit.TAMPERED
        assert refused.message
        assert refused.hint == trust_words.REFUSALS[refused.code]
        return refused

    def floor(self) -> Floor:
        with locked(self.places) as state:
            return floor.load(state)

    def held(self) -> dict[str, bytes]:
        """Every file in the state directory."""
        files = (path for path in self.state.rglob("*") if path.is_file() or path.is_symlink())
        return {str(path.relative_to(self.state)): path.read_bytes() for path in files}
