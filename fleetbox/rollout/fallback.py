"""Of which earlier bundles a new one takes no access away: going back to those opens nothing.

A host that has to go back does so only to a bundle that is named here, else to the strictest baseline.
"""

from collections.abc import Sequence

from fleetbox.policy import ResolvedPolicy
from fleetbox.policy.diff import Effect, diff
from fleetbox.rollout.journal import Journal

# What one activation is told; a host that has something older goes back to the baseline.
LIMIT = 50


def not_narrower_than(journal: Journal, policies: Sequence[ResolvedPolicy]) -> tuple[str, ...]:
    """Digests of bundles pushed from here, the newest first, of which `policies` take nothing away."""
    known = ((bundle, journal.policies_of(bundle)) for bundle in journal.bundles(LIMIT))
    return tuple(bundle for bundle, before in known if before and _opens_nothing(policies, before))


def _opens_nothing(now: Sequence[ResolvedPolicy], before: Sequence[ResolvedPolicy]) -> bool:
    """Whether going back from `now` to `before`, the first of each being the default, opens nothing.

    Asked in this direction, because a difference that is not sure counts as widening.
    """
    by_name = {policy.name: policy for policy in now}
    pairs = [(now[0], before[0]), *((by_name.get(policy.name), policy) for policy in before)]
    return all(
        new is not None and all(change.effect is not Effect.WIDENS for change in diff(new, old))
        for new, old in pairs
    )
