"""Activation with proof: the checks of a host over the connection that activated it, as one run of all."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from fleetbox import __version__
from fleetbox.conformance import collect, expect, judge
from fleetbox.conformance.collect import Intent
from fleetbox.conformance.model import HostRecord, HostState, Run, now
from fleetbox.conformance.store import Store, new_run_id
from fleetbox.errors import ExitCode, FleetboxError, worst
from fleetbox.fleet.inventory import Host
from fleetbox.policy import ResolvedPolicy
from fleetbox.rollout.calls import Terms
from fleetbox.rollout.outcome import HostOutcome, Outcome
from fleetbox.rollout.push import push
from fleetbox.rollout.shipment import Shipments
from fleetbox.transport import Transport

ENFORCED = frozenset({Outcome.ACTIVATED, Outcome.UNCHANGED})
_STATES = {
    Outcome.REFUSED: HostState.REFUSED,
    Outcome.UNREACHABLE: HostState.UNREACHABLE,
    Outcome.TRUST_REFUSED: HostState.UNTRUSTED,
}


class VerifiedPush:
    """The work of a push on each host: activate, confirm, check, keep the record. Safe with threads."""

    def __init__(self, shipments: Shipments, intent: Intent, terms: Terms) -> None:
        self._shipments = shipments
        self._terms = terms
        self._intent = intent
        self._started = now()
        self._records: dict[str, HostRecord] = {}

    def __call__(self, host: Host, transport: Transport) -> HostOutcome:
        """One host; a check that cannot be run does not undo what was activated."""
        outcome = self.push(host, transport)
        if outcome.outcome in ENFORCED:
            try:
                self._records[host.name] = collect.from_host(host, transport, self._intent)
            except FleetboxError as error:
                self._records[host.name] = collect.of_error(host, self._intent, error)
        return outcome

    def push(self, host: Host, transport: Transport) -> HostOutcome:
        """One host, without checks beyond those that its activation runs."""
        return push(host, transport, self._shipments, self._terms)

    def run(self, hosts: Iterable[Host], outcomes: Sequence[HostOutcome], selection: str) -> Run:
        """All hosts as one run; one that enforces nothing new has its outcome as the reason."""
        pairs = zip(hosts, outcomes, strict=True)
        records = tuple(
            self._records.get(host.name) or self._absent(host, outcome) for host, outcome in pairs
        )
        return _as_run(records, self._started, selection)

    def _absent(self, host: Host, outcome: HostOutcome) -> HostRecord:
        state = _STATES.get(outcome.outcome, HostState.FAILED)
        reason = outcome.message or outcome.outcome.words
        return collect.without_results(host, self._intent, state, reason, hint=outcome.hint)


def intent_of(policy: ResolvedPolicy) -> Intent:
    """What a host has to enforce that has `policy` as its default."""
    return Intent(policy.name, policy.digest, expect.checks_for(policy))


def _as_run(records: tuple[HostRecord, ...], started: datetime, selection: str) -> Run:
    return Run(
        run_id=new_run_id(),
        started=started,
        finished=now(),
        fleetbox_version=__version__,
        trigger="push",
        selection=selection,
        hosts=records,
    )


def exit_code(pushed: ExitCode, run: Run, outcomes: Sequence[HostOutcome]) -> ExitCode:
    """The push's own code, or the checks' if that is more urgent; only hosts that enforce it are judged."""
    enforced = {outcome.host for outcome in outcomes if outcome.outcome in ENFORCED}
    judged = run.model_copy(update={"hosts": tuple(h for h in run.hosts if h.name in enforced)})
    return worst([pushed, judge.exit_code(judged)]) if judged.hosts else pushed


def remember(store: Store, intent: Intent, bundle: str, outcomes: Iterable[HostOutcome]) -> None:
    """Note what each host has to enforce from now on, which is what `verify` will hold it against."""
    for outcome in outcomes:
        if outcome.outcome in ENFORCED and outcome.generation is not None:
            store.record_push(
                outcome.host,
                policy=intent.policy,
                policy_digest=intent.digest,
                bundle=bundle,
                generation=outcome.generation,
                checks=intent.checks,
            )
