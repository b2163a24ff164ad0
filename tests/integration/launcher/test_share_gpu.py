"""--share-gpu: checks start beside whoever has a GPU for itself, and keep nobody off it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

SHARE = "--share-gpu"
POLICIES = {"alone": "devices: {gpu: {exclusive: true}}\n", "shared": ""}


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("shared", gpu="mig")) as [made]:
        made.activate(POLICIES)
        yield made


def starts(box: Provisioned, policy: str, *options: str) -> str:
    """ "" for a sandbox that starts, else why it does not."""
    done = box.launch("true", policy=policy, options=("--workspace", WORKSPACE, *options))
    assert (done.returncode == 0) == (done.stderr == ""), done.stderr
    return done.stderr


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("holder", POLICIES)
def test_a_check_starts_whoever_has_the_gpu(box: Provisioned, holder: str, policy: str) -> None:
    with box.running(holder):
        assert starts(box, policy, SHARE) == ""
        kept_off = "" if holder == policy == "shared" else "another sandbox has the GPU"
        assert kept_off in starts(box, policy)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("checked", POLICIES)
def test_a_check_keeps_no_workload_off(box: Provisioned, checked: str, policy: str) -> None:
    with box.running(checked, SHARE):
        assert starts(box, policy) == ""


def test_a_check_has_the_same_gpus(box: Provisioned) -> None:
    options = ("--workspace", WORKSPACE)
    script = "ls -R /dev; env | grep -E 'VISIBLE_DEVICES|NVIDIA'"
    plain = box.sh(script, policy="alone", options=options)
    assert box.sh(script, policy="alone", options=(*options, SHARE)).stdout == plain.stdout
    assert "nvidia0" in plain.stdout


def test_a_check_needs_no_lock_files(box: Provisioned) -> None:
    box.change(f"mv {paths.GPU_LOCKS} {paths.GPU_LOCKS}.away")
    try:
        assert starts(box, "alone", SHARE) == ""
    finally:
        box.change(f"mv {paths.GPU_LOCKS}.away {paths.GPU_LOCKS}")
