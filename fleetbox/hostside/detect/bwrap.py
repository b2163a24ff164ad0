"""Which bubblewrap a host has.

Features are read from `--help`, because distributions backport them: Debian's 0.8.0 has some of 0.10.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import NamedTuple

from fleetbox.hostside import paths
from fleetbox.hostside.detect.attempt import SEARCH_PATH, attempt
from fleetbox.hostside.paths import Places

_OPTION = re.compile(r"^ {4}--([a-z0-9][a-z0-9-]*)", re.MULTILINE)
_VERSION = re.compile(r"bubblewrap ([0-9][0-9A-Za-z.+~-]{0,40})")


class Bwrap(NamedTuple):
    """One bubblewrap: where it is, what it calls itself, and the names of its options."""

    path: str
    version: str
    features: list[str]


def candidates(places: Places, user: str | None) -> list[Bwrap]:
    """The provisioned one, then the first on the system's PATH; those that start."""
    on_path = shutil.which("bwrap", path=SEARCH_PATH)
    found = [places.under(paths.BWRAP), *([on_path] if on_path else [])]
    described = (_describe(path, user) for path in dict.fromkeys(found) if os.access(path, os.X_OK))
    return [bwrap for bwrap in described if bwrap]


def _describe(path: str, user: str | None) -> Bwrap | None:
    features = sorted(set(_OPTION.findall(attempt([path, "--help"], user).printed)))
    version = _VERSION.match(attempt([path, "--version"], user).printed)
    return Bwrap(path, version[1] if version else "", features) if features else None
