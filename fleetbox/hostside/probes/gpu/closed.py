"""FBX-GPU-004: what the sandbox denies is denied to the very process that used the GPU.

A driver's library makes threads, sockets and descriptors of its own; these are the attempts of other checks,
made in that process, and judged by those checks' own rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from fleetbox.hostside.probes import filesystem, network, outcome
from fleetbox.hostside.probes.gpu import computed, nodes
from fleetbox.hostside.probes.gpu.compute import LIBRARY_MISSING
from fleetbox.hostside.probes.gpu.computed import Computed
from fleetbox.hostside.probes.gpu.present import present
from fleetbox.hostside.probes.outcome import Attempt, Outcome, Tried, Verdict
from fleetbox.hostside.probes.rounds import parsed_outcome
from fleetbox.hostside.probes.scene import Scene
from fleetbox.hostside.probes.trial import Asked, Prepared, Probe, Trial, not_applicable

PARTS: Mapping[str, Probe] = {
    "FBX-NET-001": network.egress,
    "FBX-NET-004": network.host_sockets,
    "FBX-FS-001": filesystem.outside_workspace,
    "FBX-FS-005": filesystem.credentials,
}
_WORST = (outcome.FAIL, outcome.ERROR, outcome.INCONCLUSIVE)


class _Answer(NamedTuple):
    """What `after_compute` said."""

    computed: Computed
    outcomes: Sequence[Outcome]

    @classmethod
    def of(cls, said: Outcome) -> _Answer:
        """Raises ValueError, TypeError or KeyError for anything else."""
        if not said.ok:
            raise ValueError(computed.describe(said))
        answer = json.loads(said.value)
        return cls(computed.of(answer["computed"]), [parsed_outcome(one) for one in answer["tried"]])


@dataclass(frozen=True)
class Closed:
    """One attempt that computes and then makes those of `parts`, by check; each with its own twins."""

    expected: str
    vendor: str
    parts: Mapping[str, Trial]
    twins: Sequence[Attempt] = ()

    @property
    def targets(self) -> Sequence[Attempt]:
        """The one attempt."""
        tried = [attempt for part in self.parts.values() for attempt in (*part.targets, *part.twins)]
        return [Attempt("after_compute", {"vendor": self.vendor, "tried": tried})]

    def judge(self, targets: Sequence[Tried], twins: Sequence[tuple[Attempt, Outcome]]) -> Verdict:
        """The worst of the parts; none of them counts where there was no library to use a GPU with."""
        [tried] = targets
        seen = outcome.observation(tried)
        try:
            inside, outside = _Answer.of(tried.inside), _Answer.of(tried.outside)
        except (ValueError, TypeError, KeyError) as problem:
            hung = "ETIMEDOUT" in (tried.inside.errno, tried.outside.errno)
            status, reason = (outcome.INCONCLUSIVE, "hang") if hung else (outcome.ERROR, "probe_crash")
            return Verdict(status, reason, f"the process that used the GPU: {problem}", self.expected, seen)
        if inside.computed.missing:
            status = outcome.NOT_APPLICABLE if outside.computed.missing else outcome.INCONCLUSIVE
            return Verdict(status, LIBRARY_MISSING, inside.computed.error(), self.expected, seen)
        return self._worst(dict(self._judged(inside.outcomes, outside.outcomes)), inside.computed)

    def _judged(self, inside: Sequence[Outcome], outside: Sequence[Outcome]) -> Iterator[tuple[str, Verdict]]:
        left, right = iter(inside), iter(outside)
        missing = Outcome(False)
        for check, part in self.parts.items():
            rows = [Tried(target, next(left, missing), next(right, missing)) for target in part.targets]
            twins = [Tried(twin, next(left, missing), next(right, missing)) for twin in part.twins]
            yield check, part.judge(rows, [(twin.attempt, twin.inside) for twin in twins])

    def _worst(self, verdicts: Mapping[str, Verdict], used: Computed) -> Verdict:
        how = "after the GPU was used" if not used.failed else f"after {used.error()}"
        for status in _WORST:
            for check, verdict in verdicts.items():
                if verdict.status == status:
                    return replace(verdict, message=f"{how}, {check}: {verdict.message}")
        first = next(iter(verdicts.values()))
        said = f"{how}, the same process was denied what {', '.join(verdicts)} try"
        return replace(first, reason="closed", message=said, expected=self.expected)


def closed(scene: Scene, asked: Asked) -> Prepared:
    """FBX-GPU-004. `params`: see `present`; parts: the parameters of each check of PARTS that applies."""
    found = present(asked.params)
    if why := nodes.refused(found, asked.params.get("gpu", "none")):
        return why
    if not found.picked:
        return not_applicable("no GPU is declared that this host has")
    prepared = {
        check: PARTS[check](scene, asked._replace(params=params))
        for check, params in asked.params.get("parts", {}).items()
        if check in PARTS
    }
    parts = {
        check: part for check, part in prepared.items() if not isinstance(part, Verdict) and part.targets
    }
    if not parts:
        return not_applicable("the policy gives away what would be tried")
    [vendor, *_] = found.by_library
    return Closed("network and files stay closed to the process that uses the GPU", vendor, parts)
