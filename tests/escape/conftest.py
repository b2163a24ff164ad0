"""Hosts for the attempts: each kind is started when the first attempt needs it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.escape import hosts
from tests.escape.hosts import Arena
from tests.support.hosts.lab import Lab

ArenaOf = Callable[[str], Arena]


@pytest.fixture(scope="session")
def arena_of(lab: Lab, launcher: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArenaOf]:
    library = hosts.planted_library(tmp_path_factory.mktemp("planted"))
    ready: dict[str, Arena] = {}

    def find(kind: str) -> Arena:
        if kind not in ready:
            ready[kind] = hosts.prepare(lab, launcher, kind, library)
        return ready[kind]

    yield find
    lab.down(*(arena.box.host for arena in ready.values()))
