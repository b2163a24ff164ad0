"""A host to change, and two bundles to change it with."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.integration.hostside.host import HostTree
from tests.support import bundles
from tests.support.bundles import Built


@pytest.fixture
def host() -> Iterator[HostTree]:
    """In memory: what is tested is the death of a process, not of a disk, and fsync there costs nothing."""
    with TemporaryDirectory(prefix="fleetbox-tests-", dir="/dev/shm") as root:
        yield HostTree(Path(root))


@pytest.fixture(scope="session")
def old() -> Built:
    return bundles.build("old")


@pytest.fixture(scope="session")
def new() -> Built:
    return bundles.build("new", ("second",))
