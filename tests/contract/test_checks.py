"""One list of checks: hosts, probes, catalogue, docs."""

from pathlib import Path

from fleetbox.conformance import catalogue
from fleetbox.hostside.checks import BY_ID, CHECKS, SEVERITIES, SMOKE
from fleetbox.hostside.manifest import CHECK_ID
from fleetbox.hostside.probes import KNOWN

REPO = Path(__file__).resolve().parents[2]


def test_every_check_has_a_probe_and_a_catalogue_entry() -> None:
    assert set(BY_ID) == KNOWN == set(catalogue.load())


def test_ids_are_what_a_manifest_takes() -> None:
    assert all(CHECK_ID.fullmatch(check.id) for check in CHECKS)
    assert all(check.severity in SEVERITIES for check in CHECKS)


def test_the_smoke_set_needs_no_control_machine() -> None:
    assert {"FBX-SBX-001", "FBX-SBX-002", "FBX-FS-001", "FBX-POL-001"} <= SMOKE


def test_the_reference_is_generated() -> None:
    written = (REPO / "docs" / "checks.md").read_text("utf-8")
    assert written == catalogue.as_markdown(), "run `make generate`"
