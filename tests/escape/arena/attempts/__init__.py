"""Every attempt, by family; a family is a module, an attempt is a value."""

from __future__ import annotations

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.attempts import (
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
ALL: tuple[Attempt, ...] = tuple(attempt for family in FAMILIES for attempt in family.ATTEMPTS)


def by_id(name: str) -> Attempt:
    return next(attempt for attempt in ALL if attempt.id == name)
