"""Whether this host may have what was sent to it: python-tuf, wrapped, and the rules that TUF leaves to us.

TUF says what is signed by enough keys, not expired and not older than what was seen; `assigned` says which of
that this host takes. Two steps. `verify` changes nothing that a launch sees: it keeps what it verified, and
raises `issued` and `min_release` of the floor. `accept` raises its generation, right before the host tries
what was sent; that very assignment may be tried again, and nothing older. docs/host-trust.md has the rules.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Optional
from urllib.parse import quote

from fleetbox.hostside import (
    anchors,
    assigned,
    config,
    floor,
    looks,
    metadata,
    paths,
    release,
    signed_time,
    trust_words,
)
from fleetbox.hostside._vendor.tuf.api import exceptions
from fleetbox.hostside._vendor.tuf.ngclient.config import UpdaterConfig
from fleetbox.hostside._vendor.tuf.ngclient.fetcher import FetcherInterface
from fleetbox.hostside._vendor.tuf.ngclient.updater import Updater
from fleetbox.hostside.delivery import METADATA_LIMIT
from fleetbox.hostside.errors import HostError, storage_errors
from fleetbox.hostside.floor import Signers
from fleetbox.hostside.paths import Places
from fleetbox.hostside.release import Assignment, ReleaseInvalid, ReleaseName
from fleetbox.hostside.sources import Source, Sources
from fleetbox.hostside.state import State
from fleetbox.hostside.text import escape

_CONFIG = UpdaterConfig(
    root_max_length=anchors.LIMIT, snapshot_max_length=METADATA_LIMIT, targets_max_length=METADATA_LIMIT
)
_METADATA = "metadata/"
# The words of the pinned client; tests see each of them.
_SIGNED_BY = re.compile(r"was signed by (\d+)/\d+ keys")
_OLDER = re.compile(r"must be >= |Expected \S+\.json version |New snapshot is missing info")
_APART = re.compile(r"Snapshot does not contain|is not part of snapshot")


class Target(NamedTuple):
    """What is signed of a file."""

    path: str
    length: int
    sha256: str
    custom: Any


class Verified(NamedTuple):
    """An assignment that this host takes. `bundle` is None where it was not sent; `digest` names it."""

    assignment: Assignment
    release: ReleaseName
    min_release: int
    not_narrower_than: tuple[str, ...]
    bundle: Optional[bytes]

    @property
    def digest(self) -> str:
        return self.assignment.digest

    @property
    def generation(self) -> int:
        return self.assignment.generation


def verify(places: Places, state: State, sources: Sources, *, wall: datetime | None = None) -> Verified:
    """What was sent, if this host takes it; nothing that is enforced changes. `wall` is its clock.

    Raises `HostError` with exit 6 and a code of `trust_words.REFUSALS`, or with what the disk refuses.
    """
    host = config.load(places)
    if host.host_id is None:
        raise trust_words.refused("no_anchor", f"{places.under(paths.HOST_CONFIG)} does not say host_id")
    roots = {
        name: anchors.load(places, name)
        for name in (release.POLICY_REPOSITORY, release.ASSIGNMENT_REPOSITORY)
    }
    low = floor.load(state)
    with storage_errors(state.path), metadata.changing(state) as directory:
        policy = Repository(release.POLICY_REPOSITORY, directory, roots, sources.policy)
        assignment = Repository(release.ASSIGNMENT_REPOSITORY, directory, roots, sources.assignment)
        policy.load_roots()
        assignment.load_roots()
        low = low.under(assignment.signers(), policy.signers())
        now = signed_time.reference(wall or signed_time.now(), low.issued)
        policy.refresh(now)
        assignment.refresh(now)
        said = _assignment(assignment, host.host_id)
        _check_time(said, now, (policy, assignment))
        if (policy.version(), assignment.version()) == metadata.versions(state):
            _check_age(looks.at_least(places, state, low.issued), (policy, assignment))
        low = low.seen(said.issued, _min_release(policy))
        name = release.release_name(said.release)
        target = policy.find(said.release)
        for repository in (policy, assignment):
            repository.forget_unused()
    floor.store(state, low)
    assigned.check_team(name, host.teams)
    assigned.check_generation(said, low)
    if target is None:
        raise trust_words.refused("unknown_release", f"the policy repository has no {said.release}")
    assigned.check_min_release(name, low)
    assigned.check_digest(said, target.sha256)
    _check_bundle(target, sources.bundle)
    return Verified(said, name, low.min_release, _not_narrower_than(target), sources.bundle)


def accept(state: State, verified: Verified) -> None:
    """Note durably that this host takes `verified` over: from now on nothing older is accepted."""
    low = floor.load(state)
    assigned.check_generation(verified.assignment, low)
    floor.store(state, low.accepted(verified.assignment))


class Repository:
    """One repository's metadata in the private directory of `metadata.changing`, brought up to date."""

    def __init__(self, name: str, directory: str, roots: dict[str, bytes], source: Source) -> None:
        """`roots` has the anchor of repository `name`. Raises `HostError` `no_anchor`."""
        self._name = name
        self._source = source
        self._directory = own = os.path.join(directory, name)
        os.makedirs(own, 0o700, exist_ok=True)
        try:
            self._updater = Updater(
                own, _METADATA, fetcher=_Fetcher(source), config=_CONFIG, bootstrap=roots[name]
            )
        except (exceptions.RepositoryError, ValueError) as problem:
            raise anchors.unusable(paths.anchor(name), escape(str(problem))) from None

    def load_roots(self) -> None:
        """Follow the root files: each is signed by the keys of the one before it. Raises `HostError`."""
        with self._refusals():
            self._updater._load_root()  # who may sign decides which time it is

    def refresh(self, now: datetime) -> None:
        """Everything else, judged at time `now`. Raises `HostError`."""
        self._updater._trusted_set.reference_time = now  # there is no public way to set it
        with self._refusals():
            self._updater.refresh()

    def find(self, path: str) -> Target | None:
        """What is signed of a target; None where nothing is. Raises `HostError`."""
        with self._refusals():
            found = self._updater.get_targetinfo(path)
        if found is None:
            return None
        if not re.fullmatch(r"[0-9a-f]{64}", found.hashes.get("sha256", "")):
            raise self._refused("malformed", f"{path} is signed without its SHA-256")
        return Target(path, found.length, found.hashes["sha256"], found.custom)

    def read(self, target: Target, limit: int) -> bytes:
        """The content of a target of at most `limit` bytes. Raises `HostError`."""
        if target.length > limit:
            raise self._refused(
                "too_large", f"{target.path} has {target.length} bytes; at most {limit} are read"
            )
        prefixed = bool(self._updater._trusted_set.root.consistent_snapshot)
        with self._refusals():
            chunks = _found(partial(self._source.target, prefixed=prefixed), target.path, target.sha256)
            data = _bounded(chunks, target.path, target.length)
        if (len(data), hashlib.sha256(data).hexdigest()) != (target.length, target.sha256):
            raise self._refused("digest_mismatch", f"{target.path} is not what was signed")
        return data

    def forget_unused(self) -> None:
        """Remove the files of roles that nothing of now needed: they would be kept, and be due, for ever."""
        used = {f"{quote(name, '')}.json" for name in self._updater._trusted_set._trusted_set}
        for name in os.listdir(self._directory):
            path = os.path.join(self._directory, name)
            if name not in used and os.path.isfile(path) and not os.path.islink(path):
                os.unlink(path)

    def signers(self) -> Signers:
        """Who may sign its targets."""
        root = self._updater._trusted_set.root
        role = root.roles["targets"]
        return Signers(root.version, tuple(sorted(role.keyids)), role.threshold)

    def first_expiry(self) -> datetime:
        """When the first of the metadata in use expires."""
        return min(signed.expires for signed in self._updater._trusted_set)

    def version(self) -> int:
        """Of the timestamp in use."""
        return int(self._updater._trusted_set.timestamp.version)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (exceptions.RepositoryError, exceptions.DownloadError, ValueError) as problem:
            raise self._refused(_code(problem), escape(str(problem))[:400]) from None

    def _refused(self, code: str, problem: str) -> HostError:
        clock_says = (
            f" (this host's clock says {signed_time.text(signed_time.now())})" if code == "expired" else ""
        )
        return trust_words.refused(code, f"{self._name} repository: {problem}{clock_says}")


class _Fetcher(FetcherInterface):
    """What the client asks for, from a source, in memory: the original writes what it reads below /tmp."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def _fetch(self, url: str) -> Iterator[bytes]:
        return iter(_found(self._source.metadata, url[len(_METADATA) :]))

    def download_bytes(self, url: str, max_length: int) -> bytes:
        return _bounded(self.fetch(url), url, max_length)


def _found(get: Any, *words: str) -> Iterable[bytes]:
    try:
        chunks: Iterable[bytes] = get(*words)
    except FileNotFoundError:
        raise exceptions.DownloadHTTPError(f"{words[0]} is not there", 404) from None
    except OSError as problem:
        raise exceptions.DownloadError(str(problem)) from None
    return chunks


def _bounded(chunks: Iterable[bytes], name: str, limit: int) -> bytes:
    data = bytearray()
    try:
        for chunk in chunks:
            data += chunk
            if len(data) > limit:
                raise exceptions.DownloadLengthMismatchError(f"{name} has more than {limit} bytes")
    except OSError as problem:
        raise exceptions.DownloadError(f"{name}: {problem}") from None
    return bytes(data)


def _code(problem: Exception) -> str:
    """Which refusal an error of the client is."""
    signed = _SIGNED_BY.search(str(problem))
    if isinstance(problem, exceptions.ExpiredMetadataError):
        return "expired"
    if isinstance(problem, exceptions.UnsignedMetadataError):
        return "below_threshold" if signed and int(signed[1]) else "wrong_key"
    if isinstance(problem, exceptions.DownloadLengthMismatchError):
        return "too_large"
    if isinstance(problem, exceptions.DownloadError):
        return "incomplete"
    if _OLDER.search(str(problem)):
        return "rolled_back_metadata"
    apart = (exceptions.BadVersionNumberError, exceptions.LengthOrHashMismatchError)
    return "mix_and_match" if isinstance(problem, apart) or _APART.search(str(problem)) else "malformed"


def _assignment(repository: Repository, host_id: str) -> Assignment:
    target = repository.find(release.assignment_target(host_id))
    if target is None:
        raise trust_words.refused("wrong_host", f"nothing is assigned to {host_id!r}, as this host is called")
    with _as_malformed():
        said = release.decode_assignment(repository.read(target, release.FILE_LIMIT))
    assigned.check_host(said, host_id)
    return said


def _min_release(repository: Repository) -> int:
    target = repository.find(release.FLOOR_TARGET)
    if target is None:
        raise trust_words.refused("incomplete", f"the policy repository has no {release.FLOOR_TARGET}")
    with _as_malformed():
        return release.decode_floor(repository.read(target, release.FILE_LIMIT))


def _not_narrower_than(target: Target) -> tuple[str, ...]:
    with _as_malformed():
        return release.decode_custom(target.custom)


def _check_time(said: Assignment, now: datetime, repositories: Iterable[Repository]) -> None:
    """Where the assignment is newer than the clock, nothing may have expired when it was issued."""
    with _as_malformed():
        issued = signed_time.parse(said.issued)
    first = min(repository.first_expiry() for repository in repositories)
    if issued > now and issued >= first:
        raise trust_words.refused(
            "expired",
            f"the assignment was issued at {said.issued}; what came with it expired at"
            f" {signed_time.text(first)}",
        )


def _check_age(at_least: str, repositories: Iterable[Repository]) -> None:
    """What this host has had before has aged while it ran, wherever its clock was set to.

    Newer signatures are judged by the clock: a count that went wrong must not keep out what would end it.
    """
    first = min(repository.first_expiry() for repository in repositories)
    if at_least and signed_time.parse(at_least) >= first:
        raise trust_words.refused(
            "expired",
            f"nothing was signed since the last delivery, and that expired at {signed_time.text(first)}; by"
            f" the time that this host has run it is {at_least}, whatever its clock says",
        )


def _check_bundle(target: Target, bundle: bytes | None) -> None:
    if bundle is None:
        return
    found = hashlib.sha256(bundle).hexdigest()
    if (len(bundle), found) != (target.length, target.sha256):
        raise trust_words.refused(
            "digest_mismatch", f"the bundle sent is sha256:{found}; {target.path} is sha256:{target.sha256}"
        )


@contextmanager
def _as_malformed() -> Iterator[None]:
    try:
        yield
    except (ReleaseInvalid, ValueError) as problem:
        raise trust_words.refused("malformed", f"a signed file says what none may: {problem}") from None
