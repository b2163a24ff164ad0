"""What a push would change about access: hosts that have the same bundle share one difference.

A host names its bundle by digest; only bundles that were pushed from this machine can be compared.
"""

from collections.abc import Iterator, Sequence

import click

from fleetbox.policy import ResolvedPolicy
from fleetbox.policy.diff import Change, diff
from fleetbox.policy.model import Mutability
from fleetbox.rollout.journal import Journal
from fleetbox.rollout.outcome import HostOutcome, Outcome


def show_differences(
    journal: Journal, policies: Sequence[ResolvedPolicy], outcomes: Sequence[HostOutcome]
) -> None:
    """Print, on stdout, one block for each bundle that hosts have now and would lose."""
    by_digest: dict[str | None, list[str]] = {}
    for outcome in outcomes:
        if outcome.outcome is Outcome.WOULD_ACTIVATE:
            by_digest.setdefault(outcome.digest, []).append(outcome.host)
    for digest, hosts in by_digest.items():
        click.echo(f"{', '.join(hosts)}:")
        for line in _lines(journal, policies, digest):
            click.echo(f"  {line}")


def _lines(journal: Journal, policies: Sequence[ResolvedPolicy], digest: str | None) -> Iterator[str]:
    if digest is None:
        yield "nothing is enforced there yet"
        return
    before = {policy.name: policy for policy in journal.policies_of(digest)}
    if not before:
        yield f"{digest[:19]} was not pushed from here, so it cannot be compared"
        return
    if next(iter(before)) != policies[0].name:
        yield f"the default policy: {next(iter(before))} -> {policies[0].name}"
    for policy in policies:
        old = before.pop(policy.name, None)
        yield from [f"{policy.name}: new"] if old is None else _changes(old, policy)
    for name in before:
        yield f"{name}: removed"


def _changes(old: ResolvedPolicy, new: ResolvedPolicy) -> Iterator[str]:
    changes = diff(old, new)
    yield f"{new.name}:" if changes else f"{new.name}: the same"
    for change in changes:
        yield f"  {_describe(change)}"


def _describe(change: Change) -> str:
    before, after = change.before or "(none)", change.after or "(none)"
    when = "  (applies at next launch)" if change.mutability is Mutability.STATIC else ""
    return f"{change.effect.value:<8} {change.field}: {before} -> {after}{when}"
