"""The shape of a check: what it tries inside and outside, and the rule that its outcomes are judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Union

from fleetbox.hostside.probes import outcome
from fleetbox.hostside.probes.outcome import Attempt, Outcome, Tried, Verdict
from fleetbox.hostside.probes.scene import Scene

Params = Mapping[str, Any]


class Asked(NamedTuple):
    """What one call of the probes is about, beside the scene."""

    params: Params
    egress_peer: tuple[str, int] | None
    host_sockets: tuple[str, ...]
    descriptor: str
    """What /proc/self/fd says of the descriptor that both sides are started with."""


class Trial(Protocol):
    """Attempts to make in the common launch. `targets` are made outside, too; `twins` inside alone."""

    @property
    def expected(self) -> str:
        """What must hold, in words."""
        ...

    @property
    def targets(self) -> Sequence[Attempt]:
        """What is tried on both sides."""
        ...

    @property
    def twins(self) -> Sequence[Attempt]:
        """What is tried inside only, and must work."""
        ...

    def judge(self, targets: Sequence[Tried], twins: Sequence[tuple[Attempt, Outcome]]) -> Verdict:
        """The verdict; called with all outcomes at hand."""
        ...


@dataclass(frozen=True)
class Denied:
    """The targets must fail inside, attributably; the twins must work inside."""

    expected: str
    targets: Sequence[Attempt]
    twins: Sequence[Attempt]
    needed: int | None = None
    """How many of the targets, from the first, must have worked outside; None for all."""

    def judge(self, targets: Sequence[Tried], twins: Sequence[tuple[Attempt, Outcome]]) -> Verdict:
        """See `outcome.denied`."""
        needed = len(targets) if self.needed is None else self.needed
        return outcome.denied(targets, twins, expected=self.expected, needed=needed)


@dataclass(frozen=True)
class Allowed:
    """The targets must work inside."""

    expected: str
    targets: Sequence[Attempt]
    twins: Sequence[Attempt] = ()

    def judge(self, targets: Sequence[Tried], twins: Sequence[tuple[Attempt, Outcome]]) -> Verdict:
        """See `outcome.allowed`."""
        return outcome.allowed(targets, expected=self.expected)


@dataclass(frozen=True)
class Compared:
    """Something is looked at on both sides, and `compare` says what the difference means."""

    expected: str
    targets: Sequence[Attempt]
    compare: Callable[[Sequence[Tried]], Verdict]
    twins: Sequence[Attempt] = ()

    def judge(self, targets: Sequence[Tried], twins: Sequence[tuple[Attempt, Outcome]]) -> Verdict:
        """Ask `compare`, once every look was answered."""
        for tried in targets:
            if not (tried.inside.ok and tried.outside.ok):
                said = f"inside {tried.inside.describe()}, outside {tried.outside.describe()}"
                return Verdict(
                    outcome.ERROR, "probe_crash", f"{tried.attempt.describe()}: {said}", self.expected
                )
        return self.compare(targets)


Prepared = Union[Trial, Verdict]
"""What a check comes to before anything is tried; a verdict when there is nothing to try."""
Probe = Callable[[Scene, Asked], Prepared]


def not_applicable(why: str) -> Verdict:
    """The verdict of a check that this host or policy has no use for."""
    return Verdict(outcome.NOT_APPLICABLE, "not_applicable", why)
