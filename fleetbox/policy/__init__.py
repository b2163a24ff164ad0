"""What a policy means. Loading, merging, precedence and comparison live here and nowhere else.

Everything above works with `ResolvedPolicy`; only this package ever sees YAML.
"""

from fleetbox.policy.errors import PolicyInvalid, Violation, render_violations
from fleetbox.policy.load import load_policy, load_preset
from fleetbox.policy.model import Outbound, Rule
from fleetbox.policy.resolve import ResolvedPolicy
from fleetbox.policy.words import (
    PROTECTED_PARTS,
    Access,
    GpuMode,
    GpuProfile,
    GpuVendor,
    Landlock,
    Mode,
    NetworkMode,
    Root,
    Tmp,
    UnixSockets,
)

__all__ = [
    "PROTECTED_PARTS",
    "Access",
    "GpuMode",
    "GpuProfile",
    "GpuVendor",
    "Landlock",
    "Mode",
    "NetworkMode",
    "Outbound",
    "PolicyInvalid",
    "ResolvedPolicy",
    "Root",
    "Rule",
    "Tmp",
    "UnixSockets",
    "Violation",
    "load_policy",
    "load_preset",
    "render_violations",
]
