"""Bundles that failed their checks on this host: not tried again until an operator says so.

Only failed checks bring a bundle here. One whose confirmation was lost, or during which the machine was
switched off, may be as good as any.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Any

from fleetbox.hostside import paths, small_file
from fleetbox.hostside.clock import utc_now
from fleetbox.hostside.errors import HostError, storage_errors
from fleetbox.hostside.manifest import HEX
from fleetbox.hostside.state import State, opened

_DIRECTORY = os.path.basename(paths.QUARANTINE)
_NAME = re.compile(rf"({HEX.pattern})\.json")


def add(state: State, digest: str, generation: int, failed: list[dict[str, Any]]) -> None:
    """Remember that `digest` failed as `generation`, and in which checks."""
    said = [{"check_id": result["check_id"], "message": result["message"][:500]} for result in failed[:50]]
    content = {"digest": digest, "generation": generation, "at": utc_now(), "failed": said}
    with storage_errors(state.path), suppress(FileExistsError):
        os.mkdir(_DIRECTORY, 0o755, dir_fd=state.root_fd)
        os.fsync(state.root_fd)
    with opened(_DIRECTORY, dir_fd=state.root_fd) as fd:
        small_file.write(state, _file(digest), content, dir_fd=fd)


def refuse(state: State, digest: str) -> None:
    """Raises `HostError` `quarantined` when the checks of `digest` have failed here before."""
    if digest in listed(state):
        raise HostError(
            "quarantined",
            f"{digest} failed its critical checks on this host and is not tried again",
            hint="when the reason is gone (fleetbox-host status shows it): push with --clear-quarantine",
        )


def clear(state: State, digest: str) -> None:
    """Let `digest` be tried again."""
    if digest in listed(state):
        with opened(_DIRECTORY, dir_fd=state.root_fd) as fd:
            small_file.remove(state, _file(digest), dir_fd=fd)


def sweep(state: State) -> None:
    """Remove what killed runs left behind."""
    with suppress(FileNotFoundError), opened(_DIRECTORY, dir_fd=state.root_fd) as fd:
        for name in os.listdir(fd):
            if name.startswith(small_file.TEMPORARY):
                os.unlink(name, dir_fd=fd)


def listed(state: State) -> list[str]:
    """The digests, sorted."""
    try:
        with opened(_DIRECTORY, dir_fd=state.root_fd) as fd:
            names = [_NAME.fullmatch(name) for name in os.listdir(fd)]
    except FileNotFoundError:
        return []
    return sorted(f"sha256:{name[1]}" for name in names if name)


def _file(digest: str) -> str:
    return f"{digest[len('sha256:') :]}.json"
