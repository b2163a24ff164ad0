"""The ids of all checks, their severity and version: what hosts, catalogue and exporters must agree on.

What people read about a check (title, rationale, mappings, remediation) is in the catalogue of the control
machine, `fleetbox/conformance/checks`; `tests/contract/test_checks.py` compares the two with the probes. The
critical checks are the smoke set that an activation must pass.
"""

from __future__ import annotations

from typing import NamedTuple

CRITICAL = "critical"
HIGH = "high"
MEDIUM = "medium"
SEVERITIES = (CRITICAL, HIGH, MEDIUM, "low")


class Check(NamedTuple):
    """One check. `version` rises when what the probe asserts changes, so that results stay comparable."""

    id: str
    severity: str
    version: int = 1


CHECKS: tuple[Check, ...] = (
    Check("FBX-SBX-001", CRITICAL),
    Check("FBX-SBX-002", CRITICAL),
    Check("FBX-FS-001", CRITICAL),
    Check("FBX-FS-002", HIGH),
    Check("FBX-FS-003", HIGH),
    Check("FBX-FS-004", HIGH),
    Check("FBX-FS-005", CRITICAL),
    Check("FBX-FS-006", CRITICAL),
    Check("FBX-FS-008", MEDIUM),
    Check("FBX-NET-001", CRITICAL),
    Check("FBX-NET-004", CRITICAL),
    Check("FBX-NS-001", HIGH),
    Check("FBX-NS-002", HIGH),
    Check("FBX-NS-003", HIGH),
    Check("FBX-SYS-001", HIGH),
    Check("FBX-SYS-002", MEDIUM),
    Check("FBX-GPU-001", HIGH, 2),
    Check("FBX-GPU-002", HIGH),
    Check("FBX-GPU-003", HIGH),
    Check("FBX-GPU-004", HIGH),
    Check("FBX-GPU-005", MEDIUM),
    Check("FBX-ENV-001", HIGH),
    Check("FBX-POL-001", CRITICAL),
)

BY_ID: dict[str, Check] = {check.id: check for check in CHECKS}
SMOKE: frozenset[str] = frozenset(check.id for check in CHECKS if check.severity == CRITICAL)
