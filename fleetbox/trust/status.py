"""What `fleetbox trust status` says: who signs what, until when, and what waits for signatures."""

from datetime import datetime
from typing import NamedTuple

from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from fleetbox.hostside.release import ASSIGNMENT_REPOSITORY, POLICY_REPOSITORY
from fleetbox.trust import change, marks, wrong_clock
from fleetbox.trust.authority import Authority
from fleetbox.trust.change import Change
from fleetbox.trust.releases import floor_of, last_number
from fleetbox.trust.roles import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Signatories,
    delegated_roles,
    signatories_of,
)

_TIME = "%Y-%m-%dT%H:%M:%SZ"


class KeyStatus(NamedTuple):
    """A key of a role. `where`: its URI, or that it is not on this machine."""

    keyid: str
    name: str
    where: str


class RoleStatus(NamedTuple):
    """A role. `state`: `ok`, `expires_soon`, `expired`, or `unsigned` where nothing was signed yet."""

    repository: str
    role: str
    version: int
    threshold: int
    expires: str
    state: str
    keys: tuple[KeyStatus, ...]


class Missing(NamedTuple):
    """What a document of a change still lacks."""

    repository: str
    role: str
    signatures: int
    keys: tuple[KeyStatus, ...]


class Waiting(NamedTuple):
    """A pending change. `stale`: it does not follow what is in force now, and can only be dropped."""

    id: str
    summary: str
    made: str
    file: str
    stale: bool
    missing: tuple[Missing, ...]


class Status(NamedTuple):
    """All of it. `beside`: keys of root and targets that lie on this machine, which they should not.

    `issued`: the newest time that an assignment was signed with, "" before the first. `clock`: what is wrong
    with this machine's, "" where nothing is known to be.
    """

    roles: tuple[RoleStatus, ...]
    floor: int
    last_release: int
    generation: int
    issued: str
    clock: str
    beside: tuple[str, ...]
    pending: tuple[Waiting, ...]


def status(authority: Authority) -> Status:
    """Works before the first publication, too, when only the pending change is there."""
    pending = tuple(_waiting(authority, one) for one in authority.pending().values())
    if not authority.published():
        return Status((), 0, 0, 0, "", "", (), pending)
    roles = _roles(authority)
    offline = [key for role in roles if role.role in (ROOT, TARGETS) for key in role.keys]
    online = {key.keyid for role in roles if role.role in (SNAPSHOT, TIMESTAMP) for key in role.keys}
    beside = [key.name or key.keyid[:12] for key in offline if key.keyid not in online and _lies_here(key)]
    policy, reached = authority.policy, marks.of(authority.assignment)
    return Status(
        roles,
        floor_of(authority.places.targets(POLICY_REPOSITORY), policy.targets().signed),
        last_number(policy),
        reached.generation,
        reached.issued,
        wrong_clock.warning(authority.clock, reached.newest),
        tuple(dict.fromkeys(beside)),
        pending,
    )


def _roles(authority: Authority) -> tuple[RoleStatus, ...]:
    found = []
    for repository in (POLICY_REPOSITORY, ASSIGNMENT_REPOSITORY):
        view = authority.view(repository)
        top: dict[str, Metadata[Root] | Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp]] = {
            ROOT: view.root,
            TARGETS: view.targets(),
            SNAPSHOT: view.snapshot,
            TIMESTAMP: view.timestamp,
        }
        for role, metadata in top.items():
            who = signatories_of(view.root.signed, role)
            found.append(_role(authority, repository, role, who, metadata.signed))
    targets, signed = authority.policy.targets().signed, authority.policy.delegated()
    for role in delegated_roles(targets):
        document = signed[role].signed if role in signed else None
        found.append(_role(authority, POLICY_REPOSITORY, role, signatories_of(targets, role), document))
    return tuple(found)


def _role(
    authority: Authority,
    repository: str,
    role: str,
    who: Signatories,
    signed: Root | Targets | Snapshot | Timestamp | None,
) -> RoleStatus:
    keys = tuple(key_status(authority, key.keyid) for key in who.keys)
    if signed is None:
        return RoleStatus(repository, role, 0, who.threshold, "", "unsigned", keys)
    state = _state(authority, role, signed.expires)
    expires = signed.expires.strftime(_TIME)
    return RoleStatus(repository, role, signed.version, who.threshold, expires, state, keys)


def _state(authority: Authority, role: str, expires: datetime) -> str:
    lifetimes = authority.lifetimes
    margin = lifetimes.warn_online if role in (SNAPSHOT, TIMESTAMP) else lifetimes.renew_offline
    if expires <= authority.now:
        return "expired"
    return "expires_soon" if expires <= authority.now + margin else "ok"


def key_status(authority: Authority, keyid: str) -> KeyStatus:
    """What this machine knows of a key."""
    return KeyStatus(keyid, authority.ring.known(keyid).name, authority.ring.where(keyid))


def _lies_here(key: KeyStatus) -> bool:
    return key.where.startswith("file2:")


def _waiting(authority: Authority, one: Change) -> Waiting:
    missing = tuple(
        Missing(*need.place, need.missing, tuple(key_status(authority, key.keyid) for key in need.keys))
        for need in change.needs(one)
    )
    file = str(authority.places.pending / f"{one.id}.json")
    return Waiting(one.id, one.summary, one.made, file, authority.stale(one) or not missing, missing)
