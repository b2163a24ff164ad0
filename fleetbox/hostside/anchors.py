"""Where trust begins: a root file for each repository, installed by the roles and changed by nobody else."""

from __future__ import annotations

import os

from fleetbox.hostside import paths, trust_words
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.release import ASSIGNMENT_REPOSITORY, POLICY_REPOSITORY
from fleetbox.hostside.state import check_own, opened

LIMIT = 512 * 1024


def load(places: Places, repository: str) -> bytes:
    """The root file that roles installed for `repository`. Raises `HostError` `no_anchor`, `unsafe_state`."""
    path = places.under(paths.anchor(repository))
    directory, name = os.path.split(path)
    try:
        with opened(directory, dir_fd=None) as fd:
            if os.geteuid() == 0:
                check_own(os.fstat(fd), directory)
            data = _read(name, fd, path)
    except FileNotFoundError:
        raise trust_words.refused(
            "no_anchor", f"this host trusts no {repository} repository: {path} is missing"
        ) from None
    except OSError as problem:
        raise unusable(path, str(problem)) from None
    return data


def needed(places: Places) -> bool:
    """Whether nothing unsigned is taken: roles installed an anchor, be it half of them, or something was
    verified here before. Whoever removes the anchors does not open the host to everybody.
    """
    told = [paths.anchor(name) for name in (POLICY_REPOSITORY, ASSIGNMENT_REPOSITORY)]
    return any(os.path.lexists(places.under(path)) for path in (*told, paths.FLOOR))


def _read(name: str, dir_fd: int, path: str) -> bytes:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    with os.fdopen(fd, "rb") as file:
        if os.geteuid() == 0:
            check_own(os.fstat(file.fileno()), path)
        data = file.read(LIMIT + 1)
    if not 0 < len(data) <= LIMIT:
        # Of an empty one the client would think that there is none, and trust whatever is stored.
        raise unusable(path, f"it must have 1 to {LIMIT} bytes")
    return data


def unusable(path: str, problem: str) -> HostError:
    """The refusal of an anchor that is there and is none."""
    return trust_words.refused("no_anchor", f"{path} is no root file that trust can begin with: {problem}")
