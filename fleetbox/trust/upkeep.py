"""Signing again what expires soon, and removing files that no reader can want any more.

Every push does it, so that a fleet that is pushed to needs no timer of its own.
"""

from datetime import datetime

from tuf.api.metadata import Targets

from fleetbox.hostside.release import ASSIGNMENT_REPOSITORY, POLICY_REPOSITORY
from fleetbox.trust import assignments, durable
from fleetbox.trust.authority import Authority, Proposal
from fleetbox.trust.draft import Draft
from fleetbox.trust.places import REPOSITORIES
from fleetbox.trust.publish import Update, publish, target_path
from fleetbox.trust.roles import ROOT
from fleetbox.trust.view import View, file_name


def refresh(authority: Authority) -> Proposal | None:
    """Renew what needs it; the proposal is of what offline keys sign, None where that holds long enough."""
    for repository in REPOSITORIES:
        if _expires_online(authority, authority.view(repository)):
            authority.tell_online("refreshed", repository)
            publish(authority.online, Update(repository, {}), authority.view(repository))
            authority.moved_on()
    view = authority.assignment
    if _expires_offline(authority, view.targets().signed.expires):
        authority.tell_online("refreshed", ASSIGNMENT_REPOSITORY, summary="with all assignments")
        documents = assignments.renewed_documents(authority.online, view, view.root)
        publish(authority.online, Update(ASSIGNMENT_REPOSITORY, documents), view)
        authority.moved_on()
    proposal = _renew_offline(authority)
    _tidy(authority)
    return proposal


def _renew_offline(authority: Authority) -> Proposal | None:
    base, waiting = authority.base(), authority.pending().values()
    busy = {place for one in waiting for place in one.documents}
    draft = Draft(base)
    due = [p for p, m in base.items() if p not in busy and _expires_offline(authority, m.signed.expires)]
    for place in due:
        draft.renew(place)
    if not due or busy & set(documents := draft.documents(authority.now, authority.lifetimes)):
        return None
    return authority.propose("renew what expires", documents)


def _expires_online(authority: Authority, view: View) -> bool:
    first = min(view.timestamp.signed.expires, view.snapshot.signed.expires)
    return first <= authority.now + authority.lifetimes.renew_online


def _expires_offline(authority: Authority, expires: datetime) -> bool:
    return expires <= authority.now + authority.lifetimes.renew_offline


def _tidy(authority: Authority) -> None:
    """Remove superseded files; what a pending change leads to stays."""
    for repository in REPOSITORIES:
        view, folder = authority.view(repository), authority.places.metadata(repository)
        roles = [name.removesuffix(".json") for name in view.snapshot.signed.meta]
        names = {view.name_of(role) for role in roles}
        names |= {file_name(ROOT, number) for number in range(1, len(view.roots) + 1)}
        names |= {"timestamp.json", file_name("snapshot", view.snapshot.signed.version)}
        signed = [view.targets(role).signed for role in roles]
        if repository == POLICY_REPOSITORY:
            waiting = (m.signed for one in authority.pending().values() for m in one.documents.values())
            signed += [targets for targets in waiting if isinstance(targets, Targets)]
        files = authority.places.targets(repository)
        keep = {target_path(files, file) for role in signed for file in role.targets.values()}
        now = authority.clock.timestamp()  # as the times of files, whatever time is signed with
        durable.remove(durable.superseded(folder, {folder / name for name in names}, now))
        durable.remove(durable.superseded(files, keep, now))
