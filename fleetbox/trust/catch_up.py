"""After an older backup was restored: sign everything in versions that are higher than hosts can have seen.

Hosts take nothing in a version below one that they have seen, and each push counts up by one. No host is
asked how far it is: one that lied would use the numbers up for all, and the absent ones could not answer.
Skipping more than anybody has pushed costs nothing, as the numbers last for a hundred thousand such times.
Roots are not skipped: clients follow them one by one.
"""

from collections.abc import Iterator

from fleetbox.hostside.release import ASSIGNMENT_REPOSITORY, NUMBER_MAX, POLICY_REPOSITORY
from fleetbox.trust import assignments, marks, releases
from fleetbox.trust.authority import SKIP, Authority, Proposal
from fleetbox.trust.change import Place
from fleetbox.trust.draft import Draft
from fleetbox.trust.marks import Marks
from fleetbox.trust.places import REPOSITORIES
from fleetbox.trust.publish import Update, publish
from fleetbox.trust.roles import TARGETS, delegated_roles


def catch_up(authority: Authority) -> tuple[Proposal, ...]:
    """Publish what is signed online; one proposal for each role that is signed offline.

    Raises UsageError, before anything is signed, where a change to such a role waits already.
    """
    policy, assignment = authority.policy, authority.assignment
    # What runs out here is refused by name when it is next wanted.
    generation = min(marks.of(assignment).generation + SKIP, NUMBER_MAX)
    last = max(releases.last_number(policy), marks.of(policy).release)
    release = min(last + SKIP, NUMBER_MAX)
    roles = [TARGETS, *delegated_roles(policy.targets().signed)]
    authority.refuse_waiting(Place(POLICY_REPOSITORY, role) for role in roles)
    authority.tell_online("caught_up", *REPOSITORIES, summary=f"{SKIP} versions on", step=SKIP)
    documents = assignments.renewed_documents(authority.online, assignment, assignment.root, step=SKIP)
    publish(
        authority.online,
        Update(ASSIGNMENT_REPOSITORY, documents, marks=Marks(generation), step=SKIP),
        assignment,
    )
    publish(
        authority.online,
        Update(POLICY_REPOSITORY, {}, marks=Marks(release=release), step=SKIP),
        policy,
    )
    authority.moved_on()
    return tuple(_offline(authority, roles))


def _offline(authority: Authority, roles: list[str]) -> Iterator[Proposal]:
    """A change of its own for each, so that no team waits for another's keys."""
    for role in roles:
        draft = Draft(authority.base())
        draft.targets(role)  # hosts may have seen releases of a team that has none here
        draft.renew(Place(POLICY_REPOSITORY, role))
        documents = draft.documents(authority.now, authority.lifetimes, step=SKIP)
        yield authority.propose(f"go on above what hosts have seen of {role}", documents)
