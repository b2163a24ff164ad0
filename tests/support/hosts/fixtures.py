"""Pytest fixtures of the test hosts: `lab`, `make_host`, and what they need, tried once.

A worker has one lab for its whole session. `make_host` gives a test hosts of its own and takes them down
after it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.hosts import capability
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec

MakeHost = Callable[..., Host]


@pytest.fixture(scope="session")
def needs_hosts() -> None:
    """Skip where hosts cannot be made, with the reason; on CI that is a failure."""
    if problem := capability.problem():
        if os.environ.get("CI"):
            pytest.fail(f"test hosts do not work here: {problem}", pytrace=False)
        pytest.skip(f"needs test hosts: {problem}")


@pytest.fixture(scope="session")
def lab(needs_hosts: None) -> Iterator[Lab]:
    """This worker's lab; a host that a test starts with `lab.up` stays until the session ends."""
    with Lab.create() as made:
        yield made


@pytest.fixture
def make_host(lab: Lab) -> Iterator[MakeHost]:
    """Start a host for this test: `make_host("web", suite="trixie", userns="EPERM")`; see `HostSpec.of`."""
    made: list[Host] = []

    def make(name: str | None = None, **options: object) -> Host:
        taken = {host.name for host in lab.hosts()}
        free = name or next(free for number in range(1000) if (free := f"h{number}") not in taken)
        [host] = lab.up(HostSpec.of(free, **options))
        made.append(host)
        return host

    yield make
    lab.down(*made)
