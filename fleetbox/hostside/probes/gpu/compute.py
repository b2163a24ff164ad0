"""FBX-GPU-002: a declared GPU computes, the ones that were selected do, and no others are seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetbox.hostside.probes import outcome
from fleetbox.hostside.probes.gpu import computed, identity, nodes
from fleetbox.hostside.probes.gpu.computed import Computed
from fleetbox.hostside.probes.gpu.present import CUDA, present
from fleetbox.hostside.probes.gpu.selection import Picked
from fleetbox.hostside.probes.outcome import Attempt, Control, Outcome, Tried, Verdict
from fleetbox.hostside.probes.scene import Scene
from fleetbox.hostside.probes.trial import Asked, Prepared, not_applicable

_WORST = (outcome.FAIL, outcome.ERROR, outcome.INCONCLUSIVE, outcome.NOT_APPLICABLE, outcome.PASS)
LIBRARY_MISSING = "library_missing"


Ruled = tuple[str, str, str]
"""Status, reason and message."""


@dataclass(frozen=True)
class Computes:
    """One call of each vendor's library on either side. `required`: the policy says there must be a GPU."""

    expected: str
    picked: Mapping[str, Sequence[Picked]]
    required: bool
    twins: Sequence[Attempt] = ()

    @property
    def targets(self) -> Sequence[Attempt]:
        """The calls, in the order of `picked`."""
        return [Attempt("compute", {"vendor": vendor}) for vendor in self.picked]

    def judge(self, targets: Sequence[Tried], twins: Sequence[tuple[Attempt, Outcome]]) -> Verdict:
        """The worst of them."""
        ruled = [
            _One(tried, picked, self.required).verdict(self.expected)
            for tried, picked in zip(targets, self.picked.values())  # noqa: B905 (not in Python 3.9)
        ]
        return min(ruled, key=lambda verdict: _WORST.index(verdict.status))


class _One:
    """What one library said inside and outside, of the GPUs that are its own."""

    def __init__(self, tried: Tried, picked: Sequence[Picked], required: bool) -> None:
        self.tried, self.picked, self.required = tried, picked, required
        self.inside, self.outside = computed.parsed(tried.inside), computed.parsed(tried.outside)
        self.within, self.without = computed.describe(tried.inside), computed.describe(tried.outside)

    def verdict(self, expected: str) -> Verdict:
        """What is seen beyond the selection fails whatever else was found."""
        ruled = (
            self._too_much()
            or self._not_the_sandboxs_doing()
            or self._unknown()
            or self._unusable()
            or self._wrong_ones()
            or (outcome.PASS, "computes", self.within)
        )
        controls = [_control(self.outside, self.without), _control(self.inside, self.within)]
        seen = outcome.observation(self.tried)
        if self.inside and self.inside.failed and not self.inside.missing:
            seen["errno"] = f"{self.inside.failed[2]} ({self.inside.failed[1]})"[:100]
        return Verdict(*ruled, expected, seen, *controls)

    def _too_much(self) -> Ruled | None:
        strange = identity.beyond(self.inside.devices, self.picked) if self.inside else ""
        return (outcome.FAIL, "not_selected", f"seen beyond the selection: {strange}") if strange else None

    def _not_the_sandboxs_doing(self) -> Ruled | None:
        """Nothing can be said of a sandbox in which something fails that fails without it."""
        if self.outside and not self.outside.failed:
            return None
        if self.outside and self.outside.missing and (self.inside is None or self.inside.missing):
            status = outcome.INCONCLUSIVE if self.required else outcome.NOT_APPLICABLE
            return status, LIBRARY_MISSING, f"outside the sandbox as well: {self.without}"
        said = f"outside the sandbox, too: {self.without}; inside: {self.within}"
        return outcome.INCONCLUSIVE, "control_failed", said

    def _unknown(self) -> Ruled | None:
        """Where it is not known which GPUs should be seen inside, neither more nor fewer are wrong."""
        device = identity.unknown(self.picked)
        if not device:
            return None
        said = f"no driver says which GPUs {device} is; {self.within} inside; outside {self.without}"
        return outcome.INCONCLUSIVE, "gpu_unknown", said

    def _unusable(self) -> Ruled | None:
        said = f"{self.within} inside; outside {self.without}"
        if self.inside is None and self.tried.inside.errno == "ETIMEDOUT":
            return outcome.INCONCLUSIVE, "hang", said
        if self.inside is None:
            return outcome.ERROR, "probe_crash", said
        if self.inside.failed:
            return outcome.FAIL, "library_hidden" if self.inside.missing else "gpu_unusable", said
        return None

    def _wrong_ones(self) -> Ruled | None:
        here, there = (side.devices if side else () for side in (self.inside, self.outside))
        if lacking := identity.lacking(here, self.picked):
            if identity.lacking(there, self.picked):
                return outcome.INCONCLUSIVE, "control_failed", f"outside the sandbox, too, lacks {lacking}"
            return outcome.FAIL, "gpu_missing", f"inside lacks {lacking}"
        if identity.fewer(here, there, self.picked):
            return outcome.FAIL, "gpu_missing", f"{self.within}; outside {self.without}"
        return None


def _control(answer: Computed | None, words: str) -> Control:
    return Control(answer is not None and not answer.failed, words)


def computes(scene: Scene, asked: Asked) -> Prepared:
    """FBX-GPU-002. `params`: see `present`; sockets false: the policy forbids AF_UNIX, which CUDA needs."""
    found = present(asked.params)
    if why := nodes.refused(found, asked.params.get("gpu", "none")):
        return why
    if not found.picked:
        return not_applicable("no GPU is declared that this host has")
    if not asked.params.get("sockets", True) and not found.by_library.keys().isdisjoint(CUDA):
        return not_applicable("the policy forbids UNIX sockets, without which CUDA does not start")
    required = asked.params.get("gpu") == "required"
    return Computes("the declared GPUs compute, and no other is seen", found.by_library, required)
