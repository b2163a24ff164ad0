"""Output backends: each compiles a resolved policy into the files that one mechanism enforces."""

from collections.abc import Mapping
from types import MappingProxyType

from fleetbox.targets.bubblewrap import Bubblewrap
from fleetbox.targets.interface import Artifact, Refusal, Target, UnsupportedByTarget

TARGETS: Mapping[str, Target] = MappingProxyType({target.name: target for target in (Bubblewrap(),)})

__all__ = ["TARGETS", "Artifact", "Refusal", "Target", "UnsupportedByTarget"]
