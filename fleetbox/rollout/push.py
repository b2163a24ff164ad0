"""What a push does on one host: activate over one connection, confirm over a fresh one.

That the host still answers to a new connection is what is confirmed; if it does not, it goes back by itself.
A host without the program is asked for its gates.
"""

import time
from collections.abc import Callable

from fleetbox.errors import ApplyFailed, Unreachable
from fleetbox.fleet.inventory import Host
from fleetbox.rollout import calls, decide
from fleetbox.rollout.answers import Activation, Confirmation, Failure
from fleetbox.rollout.calls import Terms
from fleetbox.rollout.outcome import HostOutcome
from fleetbox.rollout.shipment import Desk, Shipment, Shipments
from fleetbox.transport import Transport, connect

Connect = Callable[[Host], Transport]

# What a host says that has seen newer files than it was sent, and how often it is sent newer ones.
_BEHIND = frozenset({"replayed", "rolled_back_metadata"})
_AGAIN = 3
# Seconds between attempts to confirm, and what an attempt may take at the end of the host's patience.
_PAUSE = 1.0
_MARGIN = 5.0


def push(
    host: Host, transport: Transport, shipments: Shipments, terms: Terms, *, fresh: Connect = connect
) -> HostOutcome:
    """Activate the bundle on `host`; on a host that cannot sandbox nothing is changed."""
    return _sent(host, transport, shipments, shipments.to(host.name), terms=terms, fresh=fresh)


def _sent(
    host: Host,
    transport: Transport,
    shipments: Shipments,
    shipment: Shipment,
    *,
    terms: Terms,
    fresh: Connect,
) -> HostOutcome:
    answer = calls.activate(transport, shipment, terms)
    for _ in range(_AGAIN):
        if not isinstance(answer, Failure) or answer.code not in _BEHIND:
            break
        # A push beside this one, another control machine, or this one before it was restored from a backup.
        newer = shipments.again(host.name, answer.floor.generation if answer.floor else None)
        if newer is None:
            break
        answer = calls.activate(transport, newer, terms)
    if _not_provisioned(answer):
        return _why_not(host, transport)
    return _confirmed(
        host, answer, decide.of_activation(host.name, answer, wanted=shipment.digest), terms, fresh
    )


def check(host: Host, transport: Transport, digest: str) -> HostOutcome:
    """What `push` would do. Changes nothing."""
    answer = calls.status(transport)
    if _not_provisioned(answer):
        return _why_not(host, transport)
    return decide.of_status(host.name, answer, wanted=digest)


def roll_back(
    host: Host, transport: Transport, to: int | None, terms: Terms, *, fresh: Connect = connect
) -> HostOutcome:
    """Activate earlier content again, as a new and higher generation, on a host without trust anchors."""
    answer = calls.rollback(transport, to, terms)
    if _not_provisioned(answer):
        return _why_not(host, transport)
    return _confirmed(host, answer, decide.of_activation(host.name, answer), terms, fresh)


def roll_back_signed(
    host: Host, transport: Transport, to: int | None, desk: Desk, terms: Terms, *, fresh: Connect = connect
) -> HostOutcome:
    """Assign earlier content to `host` once more: a higher generation, signed as any other."""
    before = calls.status(transport)
    if _not_provisioned(before):
        return _why_not(host, transport)
    digest = decide.earlier(before, to, lambda known: desk.release_of(host.name, known) is not None)
    if isinstance(digest, Failure):
        return decide.of_failure(host.name, digest)
    return _sent(host, transport, desk, desk.reassign(host.name, digest), terms=terms, fresh=fresh)


def _confirmed(
    host: Host, answer: Activation | Failure, outcome: HostOutcome, terms: Terms, fresh: Connect
) -> HostOutcome:
    """The end of an activation that has to be confirmed; any other as it is."""
    if isinstance(answer, Failure) or answer.pending is None or outcome.is_trouble:
        return outcome
    # Not longer than was asked for, whatever the host says.
    give_up = time.monotonic() + min(answer.pending.within_s, terms.confirm_within) - _MARGIN
    while True:
        said = _confirm(host, answer.generation, answer.pending.nonce, fresh)
        if not isinstance(said, Exception):
            return decide.of_confirmation(outcome, said)
        if time.monotonic() + _PAUSE >= give_up:
            return decide.unconfirmed(outcome, said)
        time.sleep(_PAUSE)


def _confirm(
    host: Host, generation: int, nonce: str, fresh: Connect
) -> Confirmation | Failure | Unreachable | ApplyFailed:
    """One attempt. Asking twice is no harm, so an answer that was lost is asked for again."""
    try:
        transport = fresh(host)
        try:
            return calls.confirm(transport, generation, nonce)
        finally:
            transport.close()
    except (Unreachable, ApplyFailed) as problem:
        return problem


def _not_provisioned(answer: object) -> bool:
    return isinstance(answer, Failure) and answer.code == "not_provisioned"


def _why_not(host: Host, transport: Transport) -> HostOutcome:
    """A host is unprovisioned by oversight or because no role could open its gate; the facts tell which."""
    facts = calls.facts_of(transport, host.python)
    if isinstance(facts, Failure):
        return decide.of_failure(host.name, facts)
    if facts.gates:
        return decide.of_gates(host.name, facts.gates)
    return decide.of_failure(
        host.name, Failure(code="not_provisioned", message="fleetbox-host is not installed")
    )
