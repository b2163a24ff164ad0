"""The trust of one state directory: both repositories, the keys, and the changes that wait for signatures.

`opened` is the door: it holds the lock, checks whose the files are, and finishes what a killed process had
begun. A change is kept in a file before it is published, so whatever stops it, it is there to go on with.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from tuf.api.metadata import Metadata, Root, Targets

from fleetbox.errors import TrustRefused, UsageError
from fleetbox.hostside.release import ASSIGNMENT_REPOSITORY, POLICY_REPOSITORY
from fleetbox.trust import assignments, change, durable, marks
from fleetbox.trust.change import AnyMetadata, Change, Documents, Place
from fleetbox.trust.draft import ASSIGNMENT_ROOT, POLICY_ROOT, POLICY_TARGETS
from fleetbox.trust.keys import KeyRing
from fleetbox.trust.places import PRIVATE_FILE, REPOSITORIES, Places
from fleetbox.trust.publish import Online, Update, publish
from fleetbox.trust.roles import BITS, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Lifetimes, delegated_roles
from fleetbox.trust.view import View
from fleetbox.trust.witness import Deed, Witness, nobody, of_change, of_dropped

# Versions that are skipped after a backup was restored: more than anybody has pushed since it was made.
SKIP = 10_000

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Proposal:
    """What became of a change: published, or kept in `file` until it has what it needs.

    `names`: what the keys are called here, by id.
    """

    change: Change
    file: Path
    published: bool
    names: Mapping[str, str] = field(default_factory=dict)


class Authority:
    """Use `opened`. All methods need the lock that it holds."""

    def __init__(
        self, places: Places, clock: datetime, lifetimes: Lifetimes, witness: Witness = nobody
    ) -> None:
        self.places = places
        self.clock = clock
        self.witness = witness
        self.lifetimes = lifetimes
        self.ring = KeyRing(places)
        self._views: dict[str, View] = {}

    @property
    def now(self) -> datetime:
        """The time to sign with: the clock's, or the newest that hosts may have seen where that is later."""
        if not View.exists(self.places.metadata(ASSIGNMENT_REPOSITORY)):
            return self.clock
        return max(self.clock, marks.of(self.assignment).newest or self.clock)

    @property
    def online(self) -> Online:
        """What publishing takes."""
        return Online(self.places, self.ring, self.now, self.lifetimes)

    def view(self, repository: str) -> View:
        """What clients see of a repository now. Raises UsageError before the first time."""
        if repository not in self._views:
            if not View.exists(self.places.metadata(repository)):
                raise not_set_up(self.places)
            self._views[repository] = View(self.places.metadata(repository))
        return self._views[repository]

    @property
    def policy(self) -> View:
        """The policy repository."""
        return self.view(POLICY_REPOSITORY)

    @property
    def assignment(self) -> View:
        """The assignment repository."""
        return self.view(ASSIGNMENT_REPOSITORY)

    def published(self) -> bool:
        """Whether there is anything for clients to see, in both repositories."""
        return all(View.exists(self.places.metadata(repository)) for repository in REPOSITORIES)

    def roots(self) -> dict[str, tuple[bytes, ...]]:
        """Every root of each repository, the newest last. Raises NotSetUp."""
        return {repository: self.view(repository).roots for repository in REPOSITORIES}

    def moved_on(self) -> None:
        """Something was published: read it again when it is asked for."""
        self._views.clear()

    def base(self) -> Documents:
        """What is signed offline and in force; empty before the first time."""
        found: Documents = {}
        for repository in REPOSITORIES:
            if View.exists(self.places.metadata(repository)):
                found[Place(repository, ROOT)] = self.view(repository).root
        if POLICY_ROOT in found:
            found[POLICY_TARGETS] = self.policy.targets()
            found |= {Place(POLICY_REPOSITORY, r): m for r, m in self.policy.delegated().items()}
        return found

    def propose(self, summary: str, documents: Documents) -> Proposal:
        """Sign `documents` with the keys that are here, keep them, and publish them if that is enough.

        Raises UsageError where another change to the same document waits, and where nothing would change.
        """
        if not documents:
            raise UsageError("nothing would change")
        self.refuse_waiting(documents)
        carried = {
            p: m for p, m in self.base().items() if p in (POLICY_ROOT, POLICY_TARGETS, ASSIGNMENT_ROOT)
        }
        return self.go_on(Change(summary, self.now.strftime(_TIME), documents, carried))

    def refuse_waiting(self, places: Iterable[Place]) -> None:
        """Raises UsageError where a change to one of `places` waits: a document has one change at a time."""
        for other in self.pending().values():
            if both := set(places) & set(other.documents):
                raise UsageError(
                    f"change {other.id} to {sorted(both)[0].role} waits already: {other.summary}",
                    hint=f"fleetbox trust sign {self._file(other)}, or fleetbox trust drop {other.id}",
                )

    def go_on(self, proposed: Change) -> Proposal:
        """Add the signatures of keys that are here, keep the change, and publish it if nothing is missing."""
        keys = {k.keyid: k for place in proposed.documents for k in change.eligible(proposed, place)}
        signed = change.sign(proposed, self.ring.signers(keys.values()))
        file = self._file(signed)
        self.witness(of_change(signed))
        durable.write({file: change.encode(signed)}, mode=PRIVATE_FILE)
        if change.needs(signed):
            names = {keyid: self.ring.known(keyid).name for keyid in keys}
            return Proposal(signed, file, published=False, names=names)
        self._publish(signed)
        durable.remove([file])
        return Proposal(signed, file, published=True)

    def pending(self) -> dict[str, Change]:
        """The changes that wait, by id, the oldest first."""
        files = sorted(self.places.pending.glob("*.json"))
        found = [change.decode(durable.read(file, change.CHANGE_LIMIT), str(file)) for file in files]
        return {one.id: one for one in sorted(found, key=lambda one: one.made)}

    def drop(self, chosen: Change) -> None:
        """Give a change up."""
        self.witness(of_dropped(chosen))
        self._remove(chosen)

    def _remove(self, chosen: Change) -> None:
        durable.remove([self._file(chosen)])

    def recover(self) -> None:
        """Finish or undo what a killed process had begun."""
        for repository in REPOSITORIES:
            durable.sweep(self.places.trust / repository)
        for private in (self.places.keys, self.places.pending):
            durable.sweep(private)
        for one in self.pending().values():
            if not change.needs(one) and not self.stale(one):
                # What may not be published stays, for `status` to show and `drop` to take away.
                with suppress(TrustRefused):
                    self._publish(one)
                    self._remove(one)

    def tell_online(self, event: str, *repositories: str, summary: str = "", step: int = 1) -> None:
        """Tell the witness that snapshot and timestamp are about to be signed, which takes online keys."""
        documents = []
        for repository in repositories:
            view = self.view(repository)
            versions = {SNAPSHOT: view.snapshot.signed.version, TIMESTAMP: view.timestamp.signed.version}
            documents += [f"{repository} {role} {version + step}" for role, version in versions.items()]
        self.witness(Deed(event, summary, documents=tuple(documents)))

    def stale(self, chosen: Change) -> bool:
        """Whether a change no longer follows what is in force, because another was published first."""
        base = self.base()
        return any(not _follows(metadata, base.get(place)) for place, metadata in chosen.documents.items())

    def _publish(self, complete: Change) -> None:
        """Publish what is not yet. The base is what is in force here, whatever the change's file says."""
        base = self.base()
        checked = complete._replace(base=base)
        if self.stale(checked) or change.needs(checked):
            raise TrustRefused(
                f"change {complete.id} does not follow what is in force now",
                hint=f"fleetbox trust drop {complete.id}, and make it again",
            )
        new = {p: m for p, m in complete.documents.items() if not (p in base and base[p].signed == m.signed)}
        _refuse_gaps(base | complete.documents)
        if not self.published():
            new = complete.documents
        for repository in REPOSITORIES:
            here = {place.role: m for place, m in new.items() if place.repository == repository}
            if here:
                self._publish_in(repository, here)
                self.moved_on()
        for keyid in _keyids(base) - _keyids(self.base()):
            self.ring.forget(keyid)

    def _publish_in(
        self, repository: str, documents: Mapping[str, "Metadata[Root] | Metadata[Targets]"]
    ) -> None:
        view = self.view(repository) if View.exists(self.places.metadata(repository)) else None
        online, root = self.online, cast("Metadata[Root] | None", documents.get(ROOT))
        roles = {role: cast("Metadata[Targets]", m) for role, m in documents.items() if role != ROOT}
        if repository == ASSIGNMENT_REPOSITORY and root is not None:
            if view is not None and marks.forgotten(view.root.signed, root.signed):
                online = online._replace(now=self.clock)  # hosts forget the times that the old keys said
            roles = self._bins(online, view, root)
        publish(online, Update(repository, roles, root), view)

    def _bins(self, online: Online, view: View | None, root: Metadata[Root]) -> dict[str, Metadata[Targets]]:
        if view is None:
            return assignments.first_documents(online, root, BITS)
        old, new = (r.signed.roles[TARGETS].keyids for r in (view.root, root))
        return assignments.renewed_documents(online, view, root) if set(old) != set(new) else {}

    def _file(self, one: Change) -> Path:
        return self.places.pending / f"{one.id}.json"


@contextmanager
def opened(
    state_dir: Path,
    *,
    now: datetime | None = None,
    lifetimes: Lifetimes | None = None,
    make: bool = False,
    witness: Witness = nobody,
) -> Iterator[Authority]:
    """The authority of a state directory, for one operation; `make` one where there is none.

    `witness` is told of what is about to be published, and what it raises stops that.
    Raises UsageError where nothing is, the disk refuses or another process is at work; TrustRefused for a
    repository that does not verify.
    """
    places = Places(state_dir)
    try:
        if make:
            places.prepare()
        elif not places.trust.exists():
            raise not_set_up(places)
        places.check()
        with durable.locked(places.lock):
            clock = (now or datetime.now(UTC)).replace(microsecond=0)
            authority = Authority(places, clock, lifetimes or Lifetimes(), witness)
            authority.recover()
            if authority.published():
                for repository in REPOSITORIES:
                    authority.view(repository).check()
            yield authority
    except OSError as problem:
        raise UsageError(
            f"trust in {places.trust} cannot be used: {problem.strerror}: {problem.filename}",
            hint="choose another place with --state-dir, or make room",
        ) from problem


class NotSetUp(UsageError):
    """There is nothing to sign or to show yet."""


def not_set_up(places: Places) -> NotSetUp:
    """What to do about it."""
    return NotSetUp(
        f"no trust was set up in {places.state_dir}, or it waits for signatures",
        hint="fleetbox init (docs/trust.md); fleetbox trust status says what it waits for",
    )


def _follows(metadata: AnyMetadata, before: AnyMetadata | None) -> bool:
    """Whether it is the next version, one `SKIP` higher, or what is in force already.

    Of a change that skips and waited too long, the difference is not the whole of `SKIP` any more.
    """
    if before is not None and before.signed == metadata.signed:
        return True
    step = metadata.signed.version - (before.signed.version if before else 0)
    return step == 1 or (step == SKIP and metadata.signed.type != ROOT)


def _keyids(documents: Documents) -> set[str]:
    """Every key that may sign something."""
    signed = [metadata.signed for metadata in documents.values()]
    delegations = [one.delegations for one in signed if isinstance(one, Targets) and one.delegations]
    keys = [one.keys for one in signed if isinstance(one, Root)] + [one.keys for one in delegations]
    return {keyid for one in keys for keyid in one}


def _refuse_gaps(after: Documents) -> None:
    """Refuse a change after which something published would not verify. Raises TrustRefused."""
    root, targets = after[POLICY_ROOT].signed, cast(Targets, after[POLICY_TARGETS].signed)
    parents = {TARGETS: root, **dict.fromkeys(delegated_roles(targets), targets)}
    for role, parent in parents.items():
        metadata = after.get(Place(POLICY_REPOSITORY, role))
        if metadata and not parent.get_verification_result(role, metadata.signed_bytes, metadata.signatures):
            raise TrustRefused(
                f"{role} was signed by keys that this change takes away", hint="drop it and make it again"
            )
