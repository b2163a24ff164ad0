"""The roles of the two repositories: their names, who they are made for, how long a signature holds.

Policy repository: `targets` holds the floor and names each team's role, `team-<team>`, which alone may sign
`policies/<team>/*`; the team `default` is one of them, so that what is signed with every release is not
what says who may sign. Assignment repository: `targets` delegates to hash bins (TAP 15), so that a host
fetches its bin and not the list of all hosts.
"""

from datetime import timedelta
from typing import NamedTuple

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Delegations, Role, Root, SuccinctRoles, Targets

from fleetbox.errors import UsageError
from fleetbox.hostside.release import ASSIGNMENT_REPOSITORY, POLICY_REPOSITORY, TEAM

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
TEAM_PREFIX = "team-"
BIN_PREFIX = "bin"
BITS = 6

# What an operator calls the roles whose keys are online, and what they are in which repository.
ONLINE = "policy-online"
ASSIGNMENT = "assignment-online"
ONLINE_ROLES = {
    POLICY_REPOSITORY: (SNAPSHOT, TIMESTAMP),
    ASSIGNMENT_REPOSITORY: (TARGETS, SNAPSHOT, TIMESTAMP),
}


class Signatories(NamedTuple):
    """Who signs a role: the keys, and how many of them it takes."""

    keys: tuple[Key, ...]
    threshold: int = 1


class Lifetimes(NamedTuple):
    """How long what is signed holds, and how long before its end it is signed again."""

    offline: timedelta = timedelta(days=365)
    online: timedelta = timedelta(days=7)
    renew_offline: timedelta = timedelta(days=60)
    renew_online: timedelta = timedelta(days=5)
    warn_online: timedelta = timedelta(days=2)


def team_role(team: str) -> str:
    """The role of a team. Raises UsageError for what is no name of a team."""
    if not TEAM.fullmatch(team):
        raise UsageError(
            f"{team!r:.80} is no name of a team",
            hint="lower-case letters, digits and hyphens, a letter first, 32 at most",
        )
    return f"{TEAM_PREFIX}{team}"


def is_team(role: str) -> bool:
    """Whether a role of the policy repository is a team's."""
    return role.startswith(TEAM_PREFIX)


def team_paths(team: str) -> list[str]:
    """What a team may sign."""
    return [f"policies/{team}/*"]


def new_root(root: Signatories, others: dict[str, Signatories]) -> Root:
    """A first root. `others`: who signs targets, snapshot and timestamp."""
    made = Root(consistent_snapshot=True)
    for role, signatories in {ROOT: root, **others}.items():
        set_signatories(made, role, signatories)
    return made


def set_signatories(root: Root, role: str, signatories: Signatories) -> None:
    """Replace who signs a top-level role."""
    for keyid in list(root.roles[role].keyids):
        root.revoke_key(keyid, role)
    for key in signatories.keys:
        root.add_key(key, role)
    root.roles[role].threshold = signatories.threshold


def delegate(targets: Targets, team: str, signatories: Signatories) -> None:
    """Say who signs a team's releases; replaces what was said before."""
    name = team_role(team)
    if targets.delegations is None:
        targets.delegations = Delegations({}, {})
    delegations = targets.delegations
    delegations.roles = delegations.roles or {}
    delegations.roles[name] = DelegatedRole(
        name,
        [key.keyid for key in signatories.keys],
        signatories.threshold,
        terminating=True,
        paths=team_paths(team),
    )
    delegations.keys.update({key.keyid: key for key in signatories.keys})
    drop_unused_keys(delegations)


def drop_unused_keys(delegations: Delegations) -> None:
    """Forget keys that no delegation names."""
    used = {keyid for role in (delegations.roles or {}).values() for keyid in role.keyids}
    for keyid in set(delegations.keys) - used:
        del delegations.keys[keyid]


def bins(keys: tuple[Key, ...], bits: int) -> Delegations:
    """The delegation of every host's assignment to 2^bits bins, all signed by the online key."""
    keyids = [key.keyid for key in keys]
    return Delegations(
        {key.keyid: key for key in keys}, succinct_roles=SuccinctRoles(keyids, 1, bits, BIN_PREFIX)
    )


def delegated_roles(targets: Targets) -> dict[str, Role]:
    """The roles that `targets` delegates to by name."""
    roles = targets.delegations.roles if targets.delegations else None
    return dict(roles or {})


def signatories_of(parent: Root | Targets, role: str) -> Signatories:
    """Who signs a role."""
    found = parent.roles[role] if isinstance(parent, Root) else delegated_roles(parent)[role]
    return Signatories(tuple(parent.get_key(keyid) for keyid in found.keyids), found.threshold)
