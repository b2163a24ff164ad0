"""Of which earlier bundles a new one takes no access away: going back to those opens nothing.

A host that has to go back does so only to a bundle that is named here, else to the strictest baseline.
"""

from collections.abc import Sequence

from fleetbox import __version__
from fleetbox.policy import ResolvedPolicy
from fleetbox.policy.diff import Effect, diff
from fleetbox.rollout.journal import Journal

# What is looked at; a host that has something older goes back to the baseline.
LIMIT = 20


def not_narrower_than(journal: Journal, policies: Sequence[ResolvedPolicy]) -> tuple[str, ...]:
    """Digests of bundles pushed from here, the newest first, of which `policies` take nothing away."""
    known = ((digest, journal.policies_of(digest)) for digest in journal.bundles(LIMIT))
    narrower = ((digest, before) for digest, before in known if before and _opens_nothing(policies, before))
    return tuple(digest for digest, _ in narrower if journal.compiler_of(digest) == __version__)


def remember(journal: Journal, pushed: str) -> None:
    """Keep which version of fleetbox compiled a bundle.

    Another version may close a hole without a word of the policy changing; then nobody goes back to before.
    """
    journal.note_compiler(pushed, __version__)


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
