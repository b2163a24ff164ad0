"""Drivers of NVIDIA with known ways from a GPU into the kernel: data, and what it says of one version.

A warning and no gate: a host keeps its GPU. Only bulletins whose fixed versions are certain are here; that of
May 2026 (CVE-2026-24190) is not, because its fixed versions were not at hand when this was written. How to
add one: docs/debugging.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, Optional

_VERSION = re.compile(r"([0-9]{3})\.([0-9]{1,3})(?:\.([0-9]{1,3}))?")
_UPGRADE = "install a maintained driver, and reboot"


class Bulletin(NamedTuple):
    """What NVIDIA published: month, CVE ids, and by branch the first version with the fix, on Linux."""

    month: str
    cves: tuple[str, ...]
    fixed: Mapping[int, str]


class Advisory(NamedTuple):
    """One warning. advisory: which, in words; fixed: the version to have, "" where no one is known."""

    driver: str
    advisory: str
    fixed: str
    hint: str


# Oldest first. A branch that is newer than all of a bulletin's came after it, and with its fixes.
BULLETINS = (
    Bulletin("July 2025", ("CVE-2025-23279",), {575: "575.64.05", 570: "570.172.08", 535: "535.261.03"}),
    Bulletin(
        "October 2025",
        ("CVE-2025-23280", "CVE-2025-23282"),
        {580: "580.95.05", 570: "570.195.03", 535: "535.274.02"},
    ),
)
_OLDEST = min(branch for bulletin in BULLETINS for branch in bulletin.fixed)


def of(driver: str) -> list[Advisory]:
    """What is known against a version of NVIDIA's driver; a version that cannot be read is never fine."""
    version = _parsed(driver)
    if version is None:
        problem = "not known: this is no version of the driver"
        return [Advisory(driver, problem, "", "compare it with NVIDIA's security bulletins")]
    if version[0] < _OLDEST:
        return [Advisory(driver, f"branch {version[0]} is no longer maintained", "", _UPGRADE)]
    return [found for bulletin in BULLETINS if (found := _held_against(bulletin, driver, version))]


def _held_against(bulletin: Bulletin, driver: str, version: tuple[int, int, int]) -> Optional[Advisory]:
    words = f"{', '.join(bulletin.cves)} (NVIDIA, {bulletin.month})"
    branch = version[0]
    fixed = bulletin.fixed.get(branch, "")
    if not fixed:
        late = branch > max(bulletin.fixed)
        problem = f"{words}: no fixed version of branch {branch} is known here"
        return None if late else Advisory(driver, problem, "", _UPGRADE)
    if version >= (_parsed(fixed) or version):
        return None
    return Advisory(driver, words, fixed, f"install driver {fixed} or later, and reboot")


def _parsed(text: str) -> Optional[tuple[int, int, int]]:
    """Compared as numbers: 570.86.15 is older than 570.172.08."""
    match = _VERSION.fullmatch(text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None
