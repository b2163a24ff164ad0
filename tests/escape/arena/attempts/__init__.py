"""Every attempt, by family; a family is a module, an attempt is a value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.attempts import (
    attributes,
    descriptors,
    devices,
    environment,
    kernel,
    late,
    launcher,
    limits,
    namespaces,
    network,
    outside,
    privileges,
    processes,
    protected,
    root,
    secrets,
    services,
    sockets,
    terminals,
    wsl,
)

FAMILIES = (
    outside,
    attributes,
    protected,
    secrets,
    namespaces,
    privileges,
    kernel,
    terminals,
    processes,
    network,
    sockets,
    services,
    environment,
    descriptors,
    devices,
    wsl,
    late,
    launcher,
    limits,
    root,
)
# Landlock refuses these as well, so that they would not show that the first layer holds by itself.
ALSO_WITHOUT_LANDLOCK = ("inner stage not dumpable", "own process group", "own PID namespace, filter")


def _all() -> Iterator[Attempt]:
    for family in FAMILIES:
        for attempt in family.ATTEMPTS:
            yield attempt
            if attempt.targets in ALSO_WITHOUT_LANDLOCK:
                yield replace(attempt, id=f"{attempt.id}-without-landlock", policy="no-landlock", also=())


ALL: tuple[Attempt, ...] = tuple(_all())


def by_id(name: str) -> Attempt:
    return next(attempt for attempt in ALL if attempt.id == name)
