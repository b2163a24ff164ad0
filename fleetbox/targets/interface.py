"""What every target offers: a resolved policy in, files out, without looking at any host."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fleetbox.errors import PolicyError
from fleetbox.policy import ResolvedPolicy


@dataclass(frozen=True)
class Artifact:
    """One compiled file; `path` is relative to the policy's directory in a bundle."""

    path: str
    data: bytes


class Target(Protocol):
    """An output backend."""

    name: str

    def compile(self, policy: ResolvedPolicy) -> tuple[Artifact, ...]:
        """The same policy gives the same bytes anywhere. Raises UnsupportedByTarget."""

    def describe(self, artifacts: Sequence[Artifact]) -> str:
        """Compiled files in words, for `fleetbox policy render`; several lines, the last one ended."""


@dataclass(frozen=True)
class Refusal:
    """One field that a target cannot enforce as the policy has it."""

    field: str
    value: str
    origin: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field}: {self.value} ({self.origin}): {self.reason}"


class UnsupportedByTarget(PolicyError):
    """A policy asks for what a target cannot enforce. It is refused whole, never compiled to less."""

    def __init__(self, target: str, refusals: Sequence[Refusal]) -> None:
        lines = [f"target {target} cannot enforce this policy", *(f"  {refusal}" for refusal in refusals)]
        super().__init__("\n".join(lines), hint="remove these fields; docs/parity.md lists what is enforced")
        self.target = target
        self.refusals = tuple(refusals)

    @property
    def field(self) -> str:
        """The first field refused."""
        return self.refusals[0].field
