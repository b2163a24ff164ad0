"""What a push does on one host: one exec activates, and a host without the program is asked for its gates."""

from fleetbox.fleet.inventory import Host
from fleetbox.rollout import calls, decide
from fleetbox.rollout.answers import Failure
from fleetbox.rollout.outcome import HostOutcome
from fleetbox.transport import Transport


def push(host: Host, transport: Transport, digest: str, tar: bytes) -> HostOutcome:
    """Activate the bundle on `host`; on a host that cannot sandbox nothing is changed."""
    answer = calls.activate(transport, digest, tar)
    if _not_provisioned(answer):
        return _why_not(host, transport)
    return decide.of_activation(host.name, answer, wanted=digest)


def check(host: Host, transport: Transport, digest: str) -> HostOutcome:
    """What `push` would do. Changes nothing."""
    answer = calls.status(transport)
    if _not_provisioned(answer):
        return _why_not(host, transport)
    return decide.of_status(host.name, answer, wanted=digest)


def roll_back(host: Host, transport: Transport, to: int | None) -> HostOutcome:
    """Activate earlier content again, as a new and higher generation."""
    answer = calls.rollback(transport, to)
    if _not_provisioned(answer):
        return _why_not(host, transport)
    return decide.of_activation(host.name, answer)


def _not_provisioned(answer: object) -> bool:
    return isinstance(answer, Failure) and answer.code == "not_provisioned"


def _why_not(host: Host, transport: Transport) -> HostOutcome:
    """A host is unprovisioned by oversight or because no role could open its gate; the facts tell which."""
    facts = calls.streamed_facts(transport, host.python)
    if isinstance(facts, Failure):
        return decide.of_failure(host.name, facts)
    if facts.gates:
        return decide.of_gates(host.name, facts.gates)
    return decide.of_failure(
        host.name, Failure(code="not_provisioned", message="fleetbox-host is not installed")
    )
