"""Driver advisories: versions are numbers, branches have fixes of their own, and nothing unknown is fine."""

import pytest

from fleetbox.hostside.detect.gpu import advisories
from fleetbox.hostside.detect.gpu.advisories import BULLETINS

JULY, OCTOBER = (", ".join(bulletin.cves) for bulletin in BULLETINS)


@pytest.mark.parametrize(
    ("driver", "fixes"),
    [
        ("570.86.15", [(JULY, "570.172.08"), (OCTOBER, "570.195.03")]),
        ("570.172.08", [(OCTOBER, "570.195.03")]),
        ("570.195.03", []),
        ("535.261.02", [(JULY, "535.261.03"), (OCTOBER, "535.274.02")]),
        ("535.274.02", []),
        ("575.64.05", [(OCTOBER, "")]),
        ("580.65.06", [(OCTOBER, "580.95.05")]),
        ("580.95.05", []),
        ("590.10", []),
        ("550.163.01", [(JULY, ""), (OCTOBER, "")]),
    ],
)
def test_a_driver_older_than_its_branch_s_fix_is_named_with_the_version_to_have(
    driver: str, fixes: list[tuple[str, str]]
) -> None:
    found = advisories.of(driver)
    assert [(one.advisory.split(" (")[0], one.fixed) for one in found] == fixes
    assert all(one.driver == driver and one.hint for one in found)


def test_a_branch_older_than_every_known_one_is_no_longer_maintained() -> None:
    [found] = advisories.of("470.256.02")
    assert (found.advisory, found.fixed) == ("branch 470 is no longer maintained", "")


@pytest.mark.parametrize("driver", ["", "570", "570.x", "R570 (L4T)", "570.86.15 Open", "९70.86"])
def test_a_version_that_cannot_be_read_is_not_known_and_never_fine(driver: str) -> None:
    [found] = advisories.of(driver)
    assert found.advisory.startswith("not known")
    assert found.hint


def test_the_table_is_in_the_order_of_publication_and_its_versions_belong_to_their_branches() -> None:
    for bulletin in BULLETINS:
        assert bulletin.cves
        assert all(version.startswith(f"{branch}.") for branch, version in bulletin.fixed.items())
    common = [bulletin.fixed[570] for bulletin in BULLETINS]
    assert common == sorted(common, key=lambda version: [int(part) for part in version.split(".")])
