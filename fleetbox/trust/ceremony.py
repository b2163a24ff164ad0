"""Changes of who signs what: each edits a draft; `Authority.propose` has it signed and published.

Keys are changed wherever they are used: a key that was stolen signs nothing any more, in either repository.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from securesystemslib.signer import Key
from tuf.api.metadata import Role, Root, Targets

from fleetbox.errors import UsageError
from fleetbox.hostside.release import (
    ASSIGNMENT_REPOSITORY,
    DEFAULT_TEAM,
    FLOOR_TARGET,
    POLICY_REPOSITORY,
    encode_floor,
)
from fleetbox.trust import roles
from fleetbox.trust.draft import ASSIGNMENT_ROOT, POLICY_ROOT, Draft
from fleetbox.trust.publish import target_file
from fleetbox.trust.roles import ASSIGNMENT, ONLINE, ONLINE_ROLES, ROOT, TARGETS, Signatories

OPERATOR_ROLES = (ROOT, TARGETS, ONLINE, ASSIGNMENT)
FIRST_FLOOR = 1


class Founders(NamedTuple):
    """Who signs at the beginning. `policy` signs targets and the releases of team `default`."""

    root: Signatories
    policy: Signatories
    policy_online: Key
    assignment_online: Key


def found(founders: Founders) -> Draft:
    """The first version of everything that is signed offline."""
    draft = Draft({})
    online, assignment = Signatories((founders.policy_online,)), Signatories((founders.assignment_online,))
    policy = {TARGETS: founders.policy, **dict.fromkeys(ONLINE_ROLES[POLICY_REPOSITORY], online)}
    others = dict.fromkeys(ONLINE_ROLES[ASSIGNMENT_REPOSITORY], assignment)
    draft.begin(POLICY_ROOT, roles.new_root(founders.root, policy))
    draft.begin(ASSIGNMENT_ROOT, roles.new_root(founders.root, others))
    floor = target_file(FLOOR_TARGET, encode_floor(FIRST_FLOOR))
    draft.targets().targets[FLOOR_TARGET] = floor
    roles.delegate(draft.targets(), DEFAULT_TEAM, founders.policy)
    return draft


def replace(draft: Draft, old: str, new: Key | None) -> None:
    """Put `new` in the place of key `old`, wherever that is used; None: take it away.

    Raises UsageError where too few keys would be left for a threshold, all roles at once.
    """
    short = []
    for parent, name, role in _uses(draft):
        if old not in role.keyids:
            continue
        if new is not None:
            role.keyids = list(dict.fromkeys(new.keyid if keyid == old else keyid for keyid in role.keyids))
            _keys(parent)[new.keyid] = new
        else:
            role.keyids = [keyid for keyid in role.keyids if keyid != old]
        if len(role.keyids) < role.threshold:
            short.append(f"{name} ({len(role.keyids)} of the {role.threshold} it takes)")
    if short:
        raise UsageError(
            f"too few keys would be left for {', '.join(dict.fromkeys(short))}",
            hint="give another in its place: fleetbox trust rotate OLD NEW",
        )
    _forget_unused(draft)


def add(draft: Draft, key: Key, names: Sequence[str], threshold: int | None) -> None:
    """Let `key` sign the roles that an operator calls `names`. Raises UsageError, all mistakes at once."""
    problems = []
    for name in names:
        found = [(parent, role) for parent, known, role in _uses(draft) if known == name]
        if not found:
            problems.append(f"there is no role {name!r:.80}")
        if threshold is not None and name in (ONLINE, ASSIGNMENT) and threshold != 1:
            problems.append(f"{name} is signed by one key, so that a machine can do it alone")
        for parent, role in found:
            role.keyids = list(dict.fromkeys([*role.keyids, key.keyid]))
            _keys(parent)[key.keyid] = key
            role.threshold = threshold or role.threshold
            if role.threshold > len(role.keyids):
                problems.append(f"{name} has {len(role.keyids)} key(s), so no threshold of {role.threshold}")
    if problems:
        known = ", ".join(dict.fromkeys(name for _, name, _ in _uses(draft)))
        raise UsageError("; ".join(dict.fromkeys(problems)), hint=f"the roles are {known}")


def delegate(draft: Draft, team: str, signatories: Signatories) -> None:
    """Let `signatories` sign the releases of a team, and nobody else."""
    check_threshold(f"team {team}", signatories)
    roles.delegate(draft.targets(), team, signatories)


def check_threshold(name: str, signatories: Signatories) -> None:
    """Raises UsageError for a threshold that its keys cannot meet, or that no key needs to."""
    count = len({key.keyid for key in signatories.keys})
    if not 1 <= signatories.threshold <= count:
        raise UsageError(
            f"{name}: a threshold of {signatories.threshold} of {count} key(s)",
            hint="give more keys, or a lower one",
        )


def users_of(draft: Draft, keyid: str) -> tuple[str, ...]:
    """The roles, as an operator calls them, that a key signs."""
    return tuple(dict.fromkeys(name for _, name, role in _uses(draft) if keyid in role.keyids))


def keys_of(draft: Draft) -> dict[str, Key]:
    """Every key that signs anything."""
    return {keyid: key for parent, _, _ in _uses(draft) for keyid, key in _keys(parent).items()}


def _uses(draft: Draft) -> Iterable[tuple[Root | Targets, str, Role]]:
    """Every role with what names it, and what an operator calls it."""
    for repository, root in draft.roots().items():
        online = ONLINE if repository == POLICY_REPOSITORY else ASSIGNMENT
        for name, role in root.roles.items():
            yield root, online if name in ONLINE_ROLES[repository] else name, role
    targets = draft.targets()
    for name, delegated in roles.delegated_roles(targets).items():
        yield targets, name, delegated


def _keys(parent: Root | Targets) -> dict[str, Key]:
    if isinstance(parent, Root):
        return parent.keys
    return parent.delegations.keys if parent.delegations else {}


def _forget_unused(draft: Draft) -> None:
    for root in draft.roots().values():
        used = {keyid for role in root.roles.values() for keyid in role.keyids}
        for keyid in set(root.keys) - used:
            del root.keys[keyid]
    delegations = draft.targets().delegations
    if delegations is not None:
        roles.drop_unused_keys(delegations)
