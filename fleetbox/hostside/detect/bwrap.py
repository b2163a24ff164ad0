"""Which bubblewrap a host has.

Features are read from `--help`, because distributions backport them: Debian's 0.8.0 has some of 0.10.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from typing import NamedTuple

from fleetbox.hostside import paths
from fleetbox.hostside.detect.attempt import SEARCH_PATH, Prober
from fleetbox.hostside.paths import Places

_OPTION = re.compile(r"^ {4}--([a-z0-9][a-z0-9-]*)", re.MULTILINE)
_VERSION = re.compile(r"bubblewrap ([0-9][0-9A-Za-z.+~-]{0,40})")


def is_setuid(path: str) -> bool:
    """Whether a program runs as its owner root."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return bool(status.st_mode & stat.S_ISUID) and status.st_uid == 0


class Bwrap(NamedTuple):
    """One bubblewrap: where it is, what it calls itself, and the names of its options."""

    path: str
    version: str
    features: list[str]


def candidates(places: Places, prober: Prober) -> list[Bwrap]:
    """The provisioned one, then the first on the system's PATH; those that start, hang or are setuid."""
    on_path = shutil.which("bwrap", path=SEARCH_PATH)
    found = [places.under(paths.BWRAP), *([on_path] if on_path else [])]
    described = (_describe(path, prober) for path in dict.fromkeys(found) if os.access(path, os.X_OK))
    return [bwrap for bwrap in described if bwrap]


def _describe(path: str, prober: Prober) -> Bwrap | None:
    helped = prober.attempt([path, "--help"])
    if helped.stuck:
        return Bwrap(path, "", [])
    if not helped.ok and is_setuid(path):
        return Bwrap(path, "", [])  # newer ones refuse to be it; the probe hears in which words
    features = sorted(set(_OPTION.findall(helped.printed)))
    version = _VERSION.match(prober.attempt([path, "--version"]).printed)
    return Bwrap(path, version[1] if version else "", features) if features else None
