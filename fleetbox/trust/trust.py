"""The operations on trust that a push and the command line make, each under the lock, each whole."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from securesystemslib.signer import Key, SecretsHandler, Signer
from tuf.api.metadata import Metadata, TargetFile, Targets

from fleetbox.errors import TrustRefused, UsageError
from fleetbox.hostside.bundle import digest_of
from fleetbox.hostside.manifest import BUNDLE_LIMIT
from fleetbox.hostside.release import (
    ASSIGNMENT_REPOSITORY,
    DEFAULT_TEAM,
    FLOOR_TARGET,
    POLICY_REPOSITORY,
    Assignment,
    ReleaseName,
    encode_custom,
    encode_floor,
    release_target,
)
from fleetbox.trust import (
    assignments,
    catch_up,
    ceremony,
    change,
    durable,
    marks,
    releases,
    upkeep,
    wrong_clock,
)
from fleetbox.trust.authority import Authority, NotSetUp, Proposal, opened
from fleetbox.trust.change import Change, Place
from fleetbox.trust.draft import Draft
from fleetbox.trust.publish import target_file, target_path
from fleetbox.trust.published import Published
from fleetbox.trust.roles import Lifetimes, Signatories, delegated_roles, is_team, team_role
from fleetbox.trust.witness import Witness, nobody


class Unsigned(TrustRefused):
    """What was asked for waits for signatures; `proposal` says where."""

    def __init__(self, proposal: Proposal) -> None:
        needs = change.needs(proposal.change)
        missing = ", ".join(f"{need.missing} for {need.place.role}" for need in needs)
        who = "; ".join(dict.fromkeys(_holders(need, proposal.names) for need in needs))
        sign = f"fleetbox trust sign {proposal.file.name}"
        super().__init__(
            f"{proposal.change.summary}: waits for signatures ({missing})",
            hint=f"carry {proposal.file} to {who}; there {sign} --key URI, back here {sign}, and this again",
        )
        self.proposal = proposal


def _holders(need: change.Need, names: Mapping[str, str]) -> str:
    """`2 of alice, bob, carol`."""
    return f"{need.missing} of {', '.join(names.get(key.keyid) or key.keyid[:12] for key in need.keys)}"


def _now() -> datetime:
    return datetime.now(UTC)


class Trust:
    """The trust of one state directory. Every method is one operation: whole, or without effect."""

    def __init__(
        self,
        state_dir: Path,
        *,
        now: Callable[[], datetime] = _now,
        lifetimes: Lifetimes | None = None,
        witness: Witness = nobody,
    ) -> None:
        self._state_dir, self._now, self._lifetimes = state_dir, now, lifetimes or Lifetimes()
        self._witness = witness

    @contextmanager
    def opened(self, *, make: bool = False) -> Iterator[Authority]:
        """The authority, for what this class has no method for; `make` a place for it where there is none."""
        with opened(
            self._state_dir,
            now=self._now(),
            lifetimes=self._lifetimes,
            make=make,
            witness=self._witness,
        ) as authority:
            yield authority

    def create(self, root: Signatories | None = None, policy: Signatories | None = None) -> Proposal:
        """Set up both repositories; keys that are not given are made here, 1-of-1.

        Raises UsageError where trust was set up before.
        """
        with self.opened(make=True) as authority:
            if authority.published() or authority.pending():
                raise UsageError(
                    f"trust was set up in {self._state_dir} before", hint="fleetbox trust status shows it"
                )
            for name, given in (("root", root), ("policy", policy)):
                if given is not None:
                    ceremony.check_threshold(name, given)
            founders = ceremony.Founders(
                root or Signatories((authority.ring.create("root"),)),
                policy or Signatories((authority.ring.create("policy"),)),
                authority.ring.create("policy-online"),
                authority.ring.create("assignment-online"),
            )
            self._keep_floor(authority, ceremony.FIRST_FLOOR)
            documents = ceremony.found(founders).documents(authority.now, authority.lifetimes)
            return authority.propose("set up trust", documents)

    def is_set_up(self) -> bool:
        """Whether what goes out from here is signed. Raises Unsigned while setting that up waits itself."""
        try:
            self.published()
        except NotSetUp:
            with suppress(NotSetUp), self.opened() as authority:
                for waiting in authority.pending().values():
                    raise Unsigned(authority.go_on(waiting)) from None
                return authority.published()  # as `opened` may have finished it
            return False
        return True

    def add_release(
        self, bundle: bytes, *, team: str = DEFAULT_TEAM, digest: str, not_narrower_than: Sequence[str] = ()
    ) -> ReleaseName:
        """Make a bundle a release of a team. Raises Unsigned where keys for it are elsewhere, and again for
        the same bundle while it waits for them.
        """
        if digest_of(bundle) != digest:
            raise TrustRefused(f"the bundle is {digest_of(bundle)}, not {digest}")
        if len(bundle) > BUNDLE_LIMIT:
            raise UsageError(f"the bundle is larger than {BUNDLE_LIMIT} bytes")
        with self.opened() as authority:
            draft = self._drafted(authority)
            role = team_role(team)
            if role not in delegated_roles(draft.targets()):
                raise UsageError(
                    f"there is no team {team!r}", hint=f"fleetbox trust delegate {team} --key PUBLIC"
                )
            for waiting in _waiting(authority, role, digest):
                raise Unsigned(waiting)
            name = releases.next_name(team, _last_number(authority))
            target = target_file(release_target(name), bundle)
            target.unrecognized_fields["custom"] = encode_custom(list(not_narrower_than))
            releases.forget_below(_floor(authority), draft.targets(role))
            draft.targets(role).targets[target.path] = target
            self._keep(authority, target, bundle)
            self._proposed(authority, f"release {release_target(name)} {digest}", draft)
            return name

    def find_release(self, digest: str, *, team: str = DEFAULT_TEAM) -> releases.Release | None:
        """The newest release of this bundle that may be assigned; None: it must be added."""
        published = self.published()
        found = [
            release
            for name, release in published.releases().items()
            if release.digest == digest and name.team == team and name.number >= published.floor
        ]
        return max(found, key=lambda release: release.name.number, default=None)

    def assign(self, wanted: Mapping[str, tuple[ReleaseName, str]]) -> dict[str, Assignment]:
        """Assign (host: release, digest). Raises TrustRefused, with every reason, for what may not be."""
        with self.opened() as authority:
            refused = releases.refusals(
                wanted, releases.releases_of(authority.policy.delegated()), _floor(authority)
            )
            if refused:
                raise TrustRefused(
                    f"not assigned: {'; '.join(refused)}",
                    hint="push the policy again, which makes a release of its own",
                )
            chosen = {host: (release_target(name), digest) for host, (name, digest) in wanted.items()}
            return assignments.assign(authority.online, authority.assignment, chosen)

    def raise_generation(self, at_least: int) -> None:
        """Let the next assignment have a generation above `at_least`, which a host says that it has had."""
        with self.opened() as authority:
            summary = f"generations go on above {at_least}, which a host has had"
            authority.tell_online("raised", ASSIGNMENT_REPOSITORY, summary=summary)
            assignments.raise_generation(authority.online, authority.assignment, at_least)

    def set_min_release(self, number: int) -> None:
        """Raise the floor. Raises Unsigned; UsageError for a lower one, or one that no release reaches."""
        with self.opened() as authority:
            floor, last = _floor(authority), _last_number(authority, waiting=False)
            if not floor <= number <= max(last, 1):
                raise UsageError(
                    f"the floor can be {floor} to {max(last, 1)}, not {number}",
                    hint="it only rises, and not above the newest release",
                )
            if number == floor:
                return
            draft = self._drafted(authority)
            draft.targets().targets[FLOOR_TARGET] = self._keep_floor(authority, number)
            self._proposed(authority, f"no release below {number}", draft)

    def clock_warning(self) -> str:
        """What is wrong with this machine's clock, as far as what was signed tells; "" where nothing is."""
        with self.opened() as authority:
            return wrong_clock.warning(authority.clock, marks.of(authority.assignment).newest)

    def refresh(self) -> Proposal | None:
        """Sign again what expires soon; the proposal where offline keys must."""
        with self.opened() as authority:
            return upkeep.refresh(authority)

    def catch_up(self) -> tuple[Proposal, ...]:
        """Sign everything in versions above what hosts may have seen; one proposal for each offline role."""
        with self.opened() as authority:
            return catch_up.catch_up(authority)

    def edit(self, summary: str, edit: Callable[[Draft, Authority], None]) -> Proposal:
        """Change who signs what, as `ceremony` has it."""
        with self.opened() as authority:
            draft = self._drafted(authority)
            edit(draft, authority)
            return authority.propose(summary, draft.documents(authority.now, authority.lifetimes))

    def sign(self, given: Change, uris: Sequence[str], secret: SecretsHandler) -> Proposal:
        """Join the signatures of a copy of a pending change with ours, and add those of the keys given."""
        with self.opened() as authority:
            pending = authority.pending().get(given.id)
            if pending is None:
                raise UsageError(
                    f"no change {given.id} waits here", hint="fleetbox trust status lists those that do"
                )
            joined = change.join(pending, given)
            for signer in open_keys(joined, uris, lambda uri: authority.ring.use(uri, secret)):
                joined = change.sign(joined, [signer])
            return authority.go_on(joined)

    def drop(self, identity: str) -> Change:
        """Give up a pending change."""
        with self.opened() as authority:
            found = authority.pending().get(identity)
            if found is None:
                raise UsageError(
                    f"no change {identity!r:.80} waits", hint="fleetbox trust status lists those that do"
                )
            authority.drop(found)
            return found

    def published(self) -> Published:
        """What hosts are given."""
        return Published(self._state_dir)

    @staticmethod
    def _drafted(authority: Authority) -> Draft:
        _ = authority.policy, authority.assignment  # refused where nothing was set up
        return Draft(authority.base())

    @staticmethod
    def _proposed(authority: Authority, summary: str, draft: Draft) -> None:
        proposal = authority.propose(summary, draft.documents(authority.now, authority.lifetimes))
        if not proposal.published:
            raise Unsigned(proposal)

    @staticmethod
    def _keep(authority: Authority, target: TargetFile, data: bytes) -> None:
        """Put a target file where it will be found; nothing leads to it before it is signed."""
        durable.write({target_path(authority.places.targets(POLICY_REPOSITORY), target): data})

    def _keep_floor(self, authority: Authority, number: int) -> TargetFile:
        target = target_file(FLOOR_TARGET, encode_floor(number))
        self._keep(authority, target, encode_floor(number))
        return target


def open_keys(signed: Change, uris: Sequence[str], use: Callable[[str], Signer]) -> list[Signer]:
    """Open keys, all of which must count for the change. Raises UsageError for one that does not."""
    keys: dict[tuple[str, str], Key] = {}
    for place in signed.documents:
        keys |= {(key.scheme, str(key.keyval.get("public"))): key for key in change.eligible(signed, place)}
    opened_signers = []
    for uri in uris:
        signer = use(uri)
        public = signer.public_key
        if (public.scheme, str(public.keyval.get("public"))) not in keys:
            raise UsageError(
                f"the key {uri} ({public.keyid[:12]}) signs nothing of this change",
                hint=f"those that do: {', '.join(key.keyid[:12] for key in keys.values())}",
            )
        opened_signers.append(signer)
    return opened_signers


def _waiting(authority: Authority, role: str, digest: str) -> Iterator[Proposal]:
    """The change that makes this bundle a release of `role`, where one waits."""
    for one in authority.pending().values():
        new = one.documents.get(Place(POLICY_REPOSITORY, role))
        if new is None or authority.stale(one):
            continue
        made = releases.releases_of({role: cast("Metadata[Targets]", new)})
        known = releases.releases_of(authority.policy.delegated())
        if any(release.digest == digest for name, release in made.items() if name not in known):
            yield authority.go_on(one)


def _floor(authority: Authority) -> int:
    return releases.floor_of(authority.places.targets(POLICY_REPOSITORY), authority.policy.targets().signed)


def _last_number(authority: Authority, *, waiting: bool = True) -> int:
    """The highest number of a release that was used; with those that wait, so that none is given twice."""
    last = max(releases.last_number(authority.policy), marks.of(authority.policy).release)
    for one in authority.pending().values() if waiting else ():
        teams = {p.role: cast("Metadata[Targets]", m) for p, m in one.documents.items() if is_team(p.role)}
        last = max([last, *(name.number for name in releases.releases_of(teams))])
    return last
