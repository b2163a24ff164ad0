"""What a push would change about access: hosts that have the same bundle share one difference.

A host names its bundle by digest; only bundles that were pushed from this machine can be compared.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fleetbox.cli.policy import line_of
from fleetbox.policy import ResolvedPolicy
from fleetbox.policy.diff import Change, diff
from fleetbox.rollout.journal import Journal
from fleetbox.rollout.outcome import HostOutcome, Outcome


@dataclass(frozen=True)
class Difference:
    """What `hosts` would lose and gain; `before` is empty where there is nothing, or nothing known."""

    hosts: tuple[str, ...]
    digest: str | None
    before: tuple[ResolvedPolicy, ...]
    after: tuple[ResolvedPolicy, ...]

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{', '.join(self.hosts)}:"
        if self.digest is None:
            yield "  nothing is enforced there yet"
        elif not self.before:
            yield f"  {self.digest[:19]} was not pushed from here, so it cannot be compared"
        else:
            if self.before[0].name != self.after[0].name:
                yield f"  the default policy: {self.before[0].name} -> {self.after[0].name}"
            for name, changes in self._by_policy():
                yield f"  {name}: {changes}" if isinstance(changes, str) else f"  {name}:"
                yield from (f"    {line_of(change)}" for change in changes if isinstance(change, Change))

    def as_json(self) -> dict[str, Any]:
        """For programs: `policies` is null where nothing can be compared."""
        policies = [
            {"name": name, "change": changes, "changes": []}
            if isinstance(changes, str)
            else {"name": name, "change": "changed", "changes": [change.as_json() for change in changes]}
            for name, changes in self._by_policy()
        ]
        return {
            "hosts": list(self.hosts),
            "bundle": self.digest,
            "default_policy": self.before[0].name if self.before else None,
            "policies": policies if self.before else None,
        }

    def _by_policy(self) -> Iterator[tuple[str, list[Change] | str]]:
        """Each policy's changes, or the word that says it all."""
        before = {policy.name: policy for policy in self.before}
        for policy in self.after:
            old = before.pop(policy.name, None)
            yield policy.name, "new" if old is None else diff(old, policy) or "the same"
        for name in before:
            yield name, "removed"


def differences(
    journal: Journal, policies: Sequence[ResolvedPolicy], outcomes: Sequence[HostOutcome]
) -> tuple[Difference, ...]:
    """One for each bundle that hosts have now and would lose."""
    by_digest: dict[str | None, list[str]] = {}
    for outcome in outcomes:
        if outcome.outcome is Outcome.WOULD_ACTIVATE:
            by_digest.setdefault(outcome.digest, []).append(outcome.host)
    return tuple(
        Difference(tuple(hosts), digest, journal.policies_of(digest) if digest else (), tuple(policies))
        for digest, hosts in by_digest.items()
    )
