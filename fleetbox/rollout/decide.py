"""What answers and errors mean: pure, so that every combination can be tried without a host."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fleetbox.errors import (
    ApplyFailed,
    ExitCode,
    FleetboxError,
    Superseded,
    TrustRefused,
    Unreachable,
    UsageError,
    worst,
)
from fleetbox.facts import Gate
from fleetbox.hostside.trust_words import REFUSALS
from fleetbox.rollout.answers import Activation, Confirmation, Failure, Head, Status
from fleetbox.rollout.outcome import HostOutcome, Outcome, TrailHead
from fleetbox.rollout.shipment import HostAhead

# Codes after which the host is as it was, because something about it forbids a sandbox.
_GATES = frozenset({"gate", "host_refused", "python_missing"})
# Codes that say the bytes are not those that were named.
_TRUST = frozenset({"tampered", "unsigned", *REFUSALS})
# Codes of a host whose program is missing, or too old for what it was asked.
_OUTDATED = frozenset({"not_provisioned", "usage"})
# Codes of a confirmation that say that another activation has come meanwhile.
_SUPERSEDED = frozenset({"superseded", "wrong_nonce", "not_on_trial"})


def of_activation(host: str, answer: Activation | Failure, *, wanted: str | None = None) -> HostOutcome:
    """The end of an activation. `wanted` is the digest that was sent: another one in the answer is a lie."""
    if isinstance(answer, Failure):
        return of_failure(host, answer)
    if wanted is not None and answer.digest != wanted:
        return HostOutcome(
            host=host,
            outcome=Outcome.TRUST_REFUSED,
            reason="digest_mismatch",
            message=f"the host says it activated {answer.digest}, which is not what was sent",
            audit=_trail_head(answer.audit),
        )
    return HostOutcome(
        host=host,
        outcome=Outcome.ACTIVATED if answer.changed else Outcome.UNCHANGED,
        reason="repaired" if answer.repaired else "",
        message="its content had been changed on the host, and was replaced" if answer.repaired else "",
        hint="find out what changed it" if answer.repaired else "",
        generation=answer.generation,
        previous=answer.previous,
        digest=answer.digest,
        audit=_trail_head(answer.audit),
    )


def earlier(answer: Status | Failure, to: int | None, is_release: Callable[[str], bool]) -> str | Failure:
    """The digest to go back to: that of generation `to`, else of the newest before with another content.

    Without `to` only what `is_release` counts: the strictest baseline, which a host may have had, is none.
    """
    if isinstance(answer, Failure):
        return answer
    if to is not None:
        found = [old for old in answer.generations if old.n == to]
    else:
        older = [old for old in answer.generations if answer.generation and old.n < answer.generation]
        found = [old for old in older if old.digest != answer.digest and is_release(old.digest)]
    if found:
        return found[-1].digest
    wanted = f"generation {to}" if to is not None else "older release"
    return Failure(
        code="no_such_generation",
        message=f"this host has no {wanted} to roll back to",
        hint="fleetbox-host status lists the generations",
    )


def of_confirmation(activated: HostOutcome, answer: Confirmation | Failure) -> HostOutcome:
    """The end of an activation, by what its confirmation came to."""
    audit = _trail_head(answer.audit) or activated.audit
    if not isinstance(answer, Failure):
        return replace(activated, audit=audit)
    end = replace(of_failure(activated.host, answer), audit=audit)
    if answer.code in _SUPERSEDED:
        return replace(end, outcome=Outcome.SUPERSEDED)
    return end


def unconfirmed(activated: HostOutcome, error: FleetboxError) -> HostOutcome:
    """The end of an activation that could not be confirmed: the host goes back, where nobody sees it."""
    return HostOutcome(
        host=activated.host,
        outcome=Outcome.UNCONFIRMED,
        reason="unconfirmed",
        message=f"activated, but it did not answer to a new connection, so it goes back by itself: {error}",
        hint=error.hint or f"push again when it answers: fleetbox doctor {activated.host}",
        previous=activated.previous,
        audit=activated.audit,
    )


def of_failure(host: str, failure: Failure) -> HostOutcome:
    """The end when the host program reports an error."""
    outcome = Outcome.FAILED
    hint = failure.hint
    if failure.code in _TRUST:
        outcome = Outcome.TRUST_REFUSED
    elif failure.code in _GATES:
        outcome = Outcome.REFUSED
    elif failure.rolled_back:
        outcome = Outcome.ROLLED_BACK
    elif failure.code in _OUTDATED:
        hint = f"ansible-playbook site.yml --limit {host}"
    now = "; it enforces the strictest baseline now" if failure.baseline else ""
    return HostOutcome(
        host=host,
        outcome=outcome,
        reason=failure.code,
        message=f"{failure.message}{now}",
        hint=hint,
        generation=failure.generation,
        digest=failure.digest,
        audit=_trail_head(failure.audit),
    )


def _trail_head(said: Head | None) -> TrailHead | None:
    return TrailHead(said.seq, said.hash) if said else None


def of_gates(host: str, gates: Sequence[Gate]) -> HostOutcome:
    """The end for a host that cannot sandbox: refused before anything on it changed."""
    first, *more = gates
    others = f" (and {len(more)} more)" if more else ""
    return HostOutcome(
        host=host,
        outcome=Outcome.REFUSED,
        reason=first.id,
        message=f"{first.problem}{others}; nothing was changed",
        hint=first.remedy,
    )


def of_status(host: str, answer: Status | Failure, *, wanted: str) -> HostOutcome:
    """What a push of `wanted` would do."""
    if isinstance(answer, Failure):
        return of_failure(host, answer)
    return HostOutcome(
        host=host,
        outcome=Outcome.UNCHANGED if answer.digest == wanted else Outcome.WOULD_ACTIVATE,
        generation=answer.generation,
        digest=answer.digest,
    )


def of_error(host: str, error: Exception) -> HostOutcome:
    """The end when the host could not be asked, or its answer never came whole."""
    match error:
        case Unreachable():
            outcome, reason = Outcome.UNREACHABLE, "unreachable"
        case Superseded():
            outcome, reason = Outcome.SUPERSEDED, "superseded"
        case HostAhead():
            outcome, reason = Outcome.TRUST_REFUSED, "replayed"
        case TrustRefused():
            outcome, reason = Outcome.TRUST_REFUSED, "host_key"
        case UsageError():
            outcome, reason = Outcome.MISCONFIGURED, "misconfigured"
        case ApplyFailed():
            outcome, reason = Outcome.FAILED, "no_whole_answer"
        case _:
            outcome, reason = Outcome.FAILED, "internal"
    known = isinstance(error, FleetboxError)
    return HostOutcome(
        host=host,
        outcome=outcome,
        reason=reason,
        message=str(error) if known else f"internal error: {type(error).__name__}: {error}",
        hint=error.hint if isinstance(error, FleetboxError) else "",
    )


def not_started(host: str) -> HostOutcome:
    """The end of a host that an interrupted rollout never came to."""
    return HostOutcome(host=host, outcome=Outcome.NOT_STARTED, reason="interrupted")


@dataclass(frozen=True)
class Summary:
    """All hosts together."""

    counts: dict[Outcome, int]
    exit_code: ExitCode

    @property
    def words(self) -> str:
        """`3 hosts: 2 activated, 1 refused`."""
        total = sum(self.counts.values())
        parts = ", ".join(f"{count} {outcome.words}" for outcome, count in self.counts.items())
        return f"{total} host{'s' if total != 1 else ''}: {parts or 'none'}"


def summarise(outcomes: Sequence[HostOutcome]) -> Summary:
    """Counts, and the exit code of the worst; no host at all is never success."""
    counter = Counter(outcome.outcome for outcome in outcomes)
    counts = {outcome: counter[outcome] for outcome in Outcome if counter[outcome]}
    code = worst([outcome.exit_code for outcome in counts]) if counts else ExitCode.USAGE
    return Summary(counts, code)
