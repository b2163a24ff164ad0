"""How `fleetbox trust` speaks: of a change, and of the whole."""

from collections.abc import Iterator, Mapping
from typing import Any

from fleetbox.cli.output import print_json, say
from fleetbox.errors import ExitCode
from fleetbox.trust import Proposal
from fleetbox.trust.change import Need, needs
from fleetbox.trust.describe import describe
from fleetbox.trust.status import KeyStatus, RoleStatus, Status

_SHOWN_ID = 12


def tell(proposal: Proposal, *, as_json: bool) -> ExitCode:
    """Say what became of a change. That it waits for signatures is no error: it is on its way."""
    if proposal.published:
        say(f"published: {proposal.change.summary}")
    else:
        say(f"kept, waits for signatures: {proposal.change.summary}")
        _say_needs(proposal)
        say(f"carry {proposal.file} to where the keys are, and sign it there:")
        say(f"  fleetbox trust sign {proposal.file.name} --key URI")
        say("carry it back, and have it taken over; copies that were signed at the same time are joined:")
        say(f"  fleetbox trust sign {proposal.file.name}")
    if as_json:
        print_json(proposal_json(proposal))
    return ExitCode.OK


def tell_elsewhere(proposal: Proposal, *, as_json: bool) -> ExitCode:
    """Say what a signature on a machine with nothing but a key and the file has come to."""
    if needs(proposal.change):
        say("signed; still missing, and as well signed on a copy:")
        _say_needs(proposal)
    else:
        say("signed; nothing is missing")
    say(f"carry {proposal.file} to the control machine; there: fleetbox trust sign {proposal.file.name}")
    if as_json:
        print_json(proposal_json(proposal))
    return ExitCode.OK


def show(proposal_lines: list[str]) -> None:
    """What will be signed, before it is asked about."""
    for line in proposal_lines:
        say(line)


def proposal_json(proposal: Proposal) -> dict[str, Any]:
    """For --json."""
    change = proposal.change
    return {
        "schema_version": 1,
        "published": proposal.published,
        "id": change.id,
        "summary": change.summary,
        "file": None if proposal.published else str(proposal.file),
        "documents": describe(change),
        "missing": [
            {
                "repository": need.place.repository,
                "role": need.place.role,
                "signatures": need.missing,
                "keys": [key.keyid for key in need.keys],
            }
            for need in needs(change)
        ],
    }


def status_json(status: Status) -> dict[str, Any]:
    """For --json."""
    return {
        "schema_version": 1,
        **status._asdict(),
        "roles": [{**role._asdict(), "keys": [key._asdict() for key in role.keys]} for role in status.roles],
        "pending": [
            {
                **one._asdict(),
                "missing": [{**m._asdict(), "keys": [key._asdict() for key in m.keys]} for m in one.missing],
            }
            for one in status.pending
        ],
    }


def status_lines(status: Status) -> Iterator[str]:
    """Roles, then what waits, then what is wrong."""
    for role in status.roles:
        yield _role(role)
        for key in role.keys:
            yield f"    {_key(key)}  {key.where}"
    if status.roles:
        yield f"last release {status.last_release}, floor {status.floor}, last generation {status.generation}"
    if status.clock:
        yield f"warning: {status.clock}"
    for one in status.pending:
        state = "STALE, drop it" if one.stale else "waits"
        yield f"change {one.id} {state}: {one.summary} ({one.made})  {one.file}"
        for missing in one.missing:
            keys = ", ".join(_key(key) for key in missing.keys)
            yield f"    {missing.repository} {missing.role}: {missing.signatures} more, by {keys}"
    if status.beside:
        yield f"warning: beside what they sign, on this machine: {', '.join(status.beside)} (docs/trust.md)"
    if not status.roles and not status.pending:
        yield "no trust was set up here: fleetbox init"


def _role(role: RoleStatus) -> str:
    many = f"{role.threshold} of {len(role.keys)}"
    until = f"until {role.expires}" if role.expires else "nothing signed yet"
    state = "" if role.state in ("ok", "unsigned") else f"  {role.state.upper().replace('_', ' ')}"
    return f"{role.repository:<10}  {role.role:<16}  {many:<8}  version {role.version}  {until}{state}"


def _key(key: KeyStatus) -> str:
    return f"{key.keyid[:_SHOWN_ID]} {key.name}".rstrip()


def _say_needs(proposal: Proposal) -> None:
    for need in needs(proposal.change):
        say(f"  {_need(need, proposal.names)}")


def _need(need: Need, names: Mapping[str, str]) -> str:
    keys = ", ".join(f"{key.keyid[:_SHOWN_ID]} {names.get(key.keyid, '')}".rstrip() for key in need.keys)
    return f"{need.place.repository} {need.place.role}: {need.missing} more, by {keys}"
