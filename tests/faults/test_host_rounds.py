"""A real host and its checks, killed and broken at random: always one whole policy, which launches obey."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.faults.conftest import Show
from tests.faults.host_rounds import HostRounds
from tests.faults.tools import FULL, scaled
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import Provisioned, provisioned

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("rounds")) as [box]:
        box.host.put(paths.HOST_CONFIG, b'{"workload_user": "dev"}\n')
        yield box


def test_whatever_becomes_of_an_activation_a_launch_has_one_whole_legal_policy(
    box: Provisioned, show: Show
) -> None:
    seed, count = time.time_ns() % 1_000_000, scaled(6, 100)
    rounds = HostRounds(box, random.Random(seed))  # noqa: S311 - a seed that is printed
    for _ in range(count):
        rounds.play()
    rounds.finish()
    show(
        f"{count} rounds on a host with its checks (seed {seed}):",
        *(f"    {what:24} {number:7}" for what, number in sorted(rounds.counts.items())),
    )
    if FULL:
        assert rounds.counts["killed in time"] > 0
        assert rounds.counts["confirmations killed"] > 0
