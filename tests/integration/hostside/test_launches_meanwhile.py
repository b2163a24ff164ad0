"""Launches while activations come and go: each has one whole generation, and keeps it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.bundle import Bundle
from tests.integration.hostside.trials import (
    ASK,
    NEW,
    OLD,
    VIEWS,
    activate,
    an_hour_passes,
    ask,
    due_since_2001,
    must_go_back,
)
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

LAUNCHES = 100
OFTEN = f'i=0; while [ $i -lt {LAUNCHES} ]; do "$@" || echo failed; i=$((i + 1)); done'


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("busy")) as [box]:
        activate(box.host, OLD)
        box.host.put(f"{WORKSPACE}/ask.py", ASK.encode())
        yield box


def test_every_launch_beside_activations_and_ways_back_has_one_whole_generation(box: Provisioned) -> None:
    one = box.command("python3", "-I", "ask.py")
    loop = box.host.ssh_argv(["sh", "-c", OFTEN, "launches", *one])
    with subprocess.Popen(loop, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as launches:
        went_back = 0
        while launches.poll() is None:
            went_back += flip(box)
        said, problems = launches.communicate()
    seen = said.splitlines()
    assert set(seen) == VIEWS, problems
    assert len(seen) == LAUNCHES
    assert went_back > 1


def flip(box: Provisioned) -> int:
    """To the new policy and back by itself, to the new one for good, and to the old one."""
    activate(box.host, NEW, "--confirm-within", "1")
    must_go_back(box.host)
    confirmed(box, NEW)
    confirmed(box, OLD)
    return 1


def confirmed(box: Provisioned, built: Bundle) -> None:
    trial = activate(box.host, built, "--confirm-within", "60")
    ask(box.host, "confirm", str(trial["generation"]), trial["pending"]["nonce"])


def test_every_launch_while_a_host_goes_to_the_baseline_has_the_policy_or_the_baseline(
    box: Provisioned, tmp_path: Path
) -> None:
    """Whose environment has no WHICH, and whose workspace has no content."""
    one = box.command("sh", "-c", 'if [ -r ask.py ]; then echo "$WHICH"; else echo "strict $WHICH"; fi')
    loop = box.host.ssh_argv(["sh", "-c", OFTEN, "launches", *one])
    activate(box.host, OLD)
    with subprocess.Popen(loop, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as launches:
        went = 0
        while launches.poll() is None:
            with due_since_2001(box.host, tmp_path / str(went)):
                ask(box.host, "stale")
                an_hour_passes(box.host)
                assert ask(box.host, "stale")["reversal"]["reason"] == "stale"
            confirmed(box, OLD)
            went += 1
        said, problems = launches.communicate()
    seen = said.splitlines()
    assert set(seen) == {"old", "strict "}, problems
    assert len(seen) == LAUNCHES
    assert went > 1


def test_a_workload_keeps_what_it_was_started_with_after_confirmation_and_gc(box: Provisioned) -> None:
    activate(box.host, OLD)
    words = box.command("sh", "-c", "echo ready; read end; exec python3 -I ask.py")
    with subprocess.Popen(
        box.host.ssh_argv(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as workload:
        assert workload.stdout is not None
        assert workload.stdout.readline() == "ready\n"
        for built in (NEW, OLD, NEW):
            confirmed(box, built)
        assert ask(box.host, "gc", "--keep", "2")["changed"]
        assert box.launch("python3", "-I", "ask.py").stdout == "new open\n"
        said, _ = workload.communicate("end\n", timeout=30)
    assert said == "old closed\n"
