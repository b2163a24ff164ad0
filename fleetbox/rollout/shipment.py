"""What goes to each host: a bundle as it is, or what is signed and assigned to that host along with it.

Where trust was set up here, everything is signed. One assignment is signed for all hosts of a push at once;
`again` has what a single host gets that has seen newer files, by a push beside this one, or that knows of a
higher generation than this machine does.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fleetbox.bundle import Bundle
from fleetbox.errors import ApplyFailed, Superseded, TrustRefused, UsageError
from fleetbox.hostside import delivery
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.release import DEFAULT_TEAM, Assignment, ReleaseName, release_name, release_target
from fleetbox.rollout import trust_trail
from fleetbox.trust import NotSetUp, Release, Trust

# How far a host may be ahead. What it says is not proven, and numbers do not come back: one host that lies
# must not use them up for all.
JUMP_MAX = 10_000


class HostAhead(TrustRefused):
    """A host says that it has had generations of which nothing is known here."""


@dataclass(frozen=True)
class Shipment:
    """What one host gets on stdin, and what verb `activate` is told of it; `digest` is what it activates."""

    digest: str
    words: tuple[str, ...]
    data: bytes


class Shipments(Protocol):
    """The shipments of one push. Safe to use from threads."""

    @property
    def signed(self) -> bool: ...

    def to(self, host: str) -> Shipment:
        """What `host` gets. Raises Superseded where that is not this push's affair any more."""

    def again(self, host: str, above: int | None) -> Shipment | None:
        """What to try instead on a host that has seen newer files than it was sent, or has had generation
        `above`; None where there is nothing else. Raises Superseded, HostAhead.
        """


@dataclass(frozen=True)
class Plain:
    """The bundle alone, for hosts without trust anchors."""

    bundle: Bundle
    not_narrower_than: tuple[str, ...] = ()
    signed: bool = False

    def to(self, host: str) -> Shipment:
        """The same for every host."""
        words = [word for digest in self.not_narrower_than for word in ("--not-narrower-than", digest)]
        return Shipment(self.bundle.digest, (self.bundle.digest, "--bundle", "-", *words), self.bundle.tar)

    def again(self, host: str, above: int | None) -> Shipment | None:
        """None: there is nothing newer of what nobody signed."""
        return None


class Desk:
    """Signs and packs with the trust of this machine. `warning`: what people must know first, if not ""."""

    signed = True

    def __init__(self, trust: Trust) -> None:
        self.warning = trust.clock_warning()
        self._trust = trust
        self._lock = threading.Lock()
        self._wanted: dict[str, tuple[ReleaseName, str]] = {}
        self._made: dict[str, Assignment] = {}
        self._bundle: bytes | None = None
        self._published = trust.published()
        self._begun_at = self._published.generation  # many hosts that lie may not take it further than one

    def release(
        self, bundle: Bundle, not_narrower_than: Sequence[str], hosts: Iterable[str], *, team: str
    ) -> str:
        """Make the bundle a release of `team`, where it is none yet, and assign it to the hosts; its target
        path.

        Raises Unsigned where keys for it are elsewhere, UsageError for an unknown team, TrustRefused for what
        may not be assigned.
        """
        known = self._trust.find_release(bundle.digest, team=team)
        if known is not None:
            name = known.name
        else:
            name = self._trust.add_release(
                bundle.tar, team=team, digest=bundle.digest, not_narrower_than=not_narrower_than
            )
        self._assign(dict.fromkeys(hosts, (name, bundle.digest)))
        self._bundle = bundle.tar
        return release_target(name)

    def release_of(self, host: str, digest: str) -> Release | None:
        """The release of a bundle that may be assigned to `host`: of the team of its last assignment."""
        last = self._published.assignment(host)
        team = release_name(last.release).team if last else DEFAULT_TEAM
        return self._trust.find_release(digest, team=team)

    def reassign(self, host: str, digest: str) -> Shipment:
        """Assign an earlier release, of the team of the last one, to a host that has the bundle.

        Raises UsageError where none may be assigned.
        """
        known = self.release_of(host, digest)
        if known is None:
            raise UsageError(
                f"{digest[:19]} is no release that may be assigned", hint="push the policy again instead"
            )
        with self._lock:
            self._assign({host: (known.name, digest)})
            return self.to(host)

    def to(self, host: str) -> Shipment:
        """The signed files that `host` needs, and the bundle.

        Raises Superseded where another push from this machine has assigned something to it meanwhile,
        ApplyFailed for more than a host takes.
        """
        published = self._published
        current = published.assignment(host)
        if current is not None and current != self._made[host]:
            raise Superseded(
                f"another command on this machine has assigned {current.release} to it meanwhile",
                hint="fleetbox audit list shows which; the later one stays",
            )
        try:
            sent = delivery.write(published.delivery_for(host, bundle=self._bundle))
        except HostError as problem:
            raise ApplyFailed(f"{host} would take no delivery like this one: {problem.message}") from problem
        return Shipment(self._wanted[host][1], ("--delivery", "-"), sent)

    def again(self, host: str, above: int | None) -> Shipment | None:
        """The newest files, if they are newer; else, for a host that has gone further, sign once more."""
        with self._lock:
            before, self._published = self._published, self._trust.published()
            newest = self.to(host)
            if above is None or above < self._made[host].generation:
                return newest if self._published.versions > before.versions else None
            if above > self._begun_at + JUMP_MAX:
                raise HostAhead(
                    f"{host} says that it has had generation {above}; the last one from here is"
                    f" {self._begun_at}",
                    hint="after a restored backup: fleetbox trust catch-up; else find out who changed it",
                )
            self._trust.raise_generation(above)
            self._assign({host: self._wanted[host]})
            return self.to(host)

    def _assign(self, wanted: dict[str, tuple[ReleaseName, str]]) -> None:
        self._made |= self._trust.assign(wanted)
        self._wanted |= wanted
        self._published = self._trust.published()


def signs(state_dir: Path, *, allow_unsigned: bool) -> bool:
    """Whether this machine signs what it pushes: where trust was set up, always.

    Raises UsageError where it was not and nobody said that this is meant; TrustRefused for damage, and while
    setting it up waits for signatures: what shall be signed does not go out unsigned meanwhile.
    """
    try:
        Trust(state_dir).published()
    except NotSetUp as missing:
        if Trust(state_dir).is_set_up():
            return True
        if allow_unsigned:
            return False
        raise UsageError(
            f"what is pushed would not be signed: {missing}",
            hint="fleetbox init, then site.yml tells the hosts whom to trust; --allow-unsigned goes without",
        ) from None
    return True


def opened(state_dir: Path) -> Desk:
    """The desk of this machine, where trust is set up; what is due soon is signed anew."""
    trust = trust_trail.recorded(state_dir)
    trust.refresh()
    return Desk(trust)
