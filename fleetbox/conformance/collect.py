"""Asking one host: what is asked, for how long, and what its answer makes of its record.

The record is keyed by the name under which the host was reached and authenticated; an answer that claims the
identity of another machine is refused whole.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from fleetbox.conformance import judge
from fleetbox.conformance.egress import Peer
from fleetbox.conformance.model import Answer, AnswerInvalid, HostRecord, HostState, Status, parse_answer
from fleetbox.errors import FleetboxError, TrustRefused, Unreachable
from fleetbox.fleet.inventory import Host
from fleetbox.hostside import paths
from fleetbox.transport import Completed, Transport, clean, run_as_root

TIMEOUT = 120.0
NOT_INSTALLED = "fleetbox-host is not installed"
# Codes of `fleetbox.errors` on the host's side that say it cannot sandbox at all.
_GATES = frozenset({"gate", "host_refused"})


@dataclass(frozen=True)
class Intent:
    """What a host ought to enforce; `host_id` is the machine that was told so, "" if unknown."""

    policy: str
    digest: str
    checks: Sequence[dict[str, Any]]
    host_id: str = ""


def from_host(
    host: Host, transport: Transport, intent: Intent, *, egress_peer: str | None = None
) -> HostRecord:
    """One remote call. Raises what the transport raises; a bad answer is a record of its own."""
    with ExitStack() as stack:
        peer = egress_peer or _own_peer(transport, stack)
        request = {
            "checks": list(intent.checks),
            "user": host.workload_user,
            "egress_peer": peer,
            "policy": intent.policy or None,
        }
        argv = [paths.HOST_PROGRAM, "probe"]
        completed = run_as_root(transport, argv, stdin=json.dumps(request).encode(), timeout=TIMEOUT)
    return of_answer(host, intent, completed)


def _own_peer(transport: Transport, stack: ExitStack) -> str | None:
    """A port here, unless the host knows this machine by an address that is not its own: behind NAT."""
    if transport.local_address is None:
        return None
    try:
        return stack.enter_context(Peer(transport.local_address)).name
    except OSError:
        return None


def of_answer(host: Host, intent: Intent, completed: Completed) -> HostRecord:
    """The record that an answer makes."""
    if completed.rc != 0:
        return _failed(host, intent, completed)
    try:
        answer = parse_answer(completed.stdout)
    except AnswerInvalid as problem:
        return without_results(host, intent, HostState.FAILED, f"its answer is not valid: {problem}")
    if intent.host_id and answer.host.host_id != intent.host_id:
        claim = "its answer claims to be another machine than the one that was pushed to"
        hint = f"if {host.name} was installed anew, push to it again"
        return without_results(host, intent, HostState.UNTRUSTED, claim, hint=hint)
    return _answered(host, intent, answer)


def _answered(host: Host, intent: Intent, answer: Answer) -> HostRecord:
    asked = {check["id"] for check in intent.checks}
    if strange := [result.check_id for result in answer.results if result.check_id not in asked]:
        return without_results(host, intent, HostState.FAILED, f"it answered {strange[0]} unasked")
    results = judge.completed(
        answer.results,
        intent.checks,
        status=Status.MISSING,
        reason="missing",
        message="the host said nothing of it",
    )
    return HostRecord(
        name=host.name, groups=host.groups, state=HostState.ANSWERED, policy=intent.policy,
        intended=intent.digest, host=answer.host, results=results,
    )  # fmt: skip


def _failed(host: Host, intent: Intent, completed: Completed) -> HostRecord:
    """A host program that reports an error, or is not there."""
    if not_installed(completed):
        hint = f"ansible-playbook site.yml --limit {host.name}"
        return without_results(host, intent, HostState.FAILED, NOT_INSTALLED, hint=hint)
    try:
        error = json.loads(completed.stdout)["error"]
        code, message, hint = (
            clean(str(error.get(key, "")), limit=400) for key in ("code", "message", "hint")
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        code, message, hint = "", f"fleetbox-host ended with {completed.rc}: {completed.words}", ""
    state = HostState.REFUSED if code in _GATES else HostState.FAILED
    return without_results(host, intent, state, message, hint=hint)


def not_installed(completed: Completed) -> bool:
    """Whether the host program was never there: a shell says 127, sudo says 1 and a sentence."""
    sudo = completed.rc == 1 and b"command not found" in completed.stderr
    return not completed.stdout and (completed.rc == 127 or sudo)


def of_error(host: Host, intent: Intent, error: Exception) -> HostRecord:
    """The record of a host that could not be asked."""
    state = HostState.FAILED
    if isinstance(error, Unreachable):
        state = HostState.UNREACHABLE
    elif isinstance(error, TrustRefused):
        state = HostState.UNTRUSTED
    if isinstance(error, FleetboxError):
        return without_results(host, intent, state, error.message, hint=error.hint)
    return without_results(host, intent, state, f"{type(error).__name__}: {error}")


def without_results(
    host: Host, intent: Intent, state: HostState, reason: str, *, hint: str = ""
) -> HostRecord:
    """A record in which every planned check is `not_run`, or `missing` when the host never heard of them."""
    reason, hint = (" ".join(clean(text, limit=600).split()) for text in (reason, hint))
    status = Status.MISSING if state is HostState.UNREACHABLE else Status.NOT_RUN
    results = judge.completed((), intent.checks, status=status, reason=state.value, message=reason)
    return HostRecord(
        name=host.name, groups=host.groups, state=state, reason=reason, hint=hint, policy=intent.policy,
        intended=intent.digest, results=results,
    )  # fmt: skip
