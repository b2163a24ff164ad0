"""Checks do not compete with workloads: whoever has a GPU for itself keeps no policy back."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import paths
from tests.integration.conformance.test_on_gpu_machines import rows
from tests.support import gpu
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import Provisioned, compiled, provisioned

pytestmark = pytest.mark.host

ALONE = "devices: {gpu: {exclusive: true}}\n"
BEFORE = {"alone": ALONE, "shared": ""}
AFTER = {"alone": ALONE + "environment: {set: {EDITOR: vi}}\n", "shared": ""}
OTHER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
KEEP = """
import fcntl, os, sys
kept = [open(entry) for entry in os.scandir(sys.argv[1])]
for file in kept:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("ready", flush=True)
sys.stdin.read()
"""
HOLDERS = ("a sandbox that has it alone", "a sandbox that shares it", "another account with every lock")

Statuses = Mapping[str, tuple[str, str]]


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioned]:
    library = gpu.build("cuda", tmp_path_factory.mktemp("library"))
    with provisioned(lab, launcher, HostSpec.of("busy", gpu="mig")) as [made]:
        where = f"/usr/lib/{os.uname().machine}-linux-gnu/{library.name}"
        made.host.put(where, library.read_bytes(), mode=0o755)
        made.host.put(gpu.LIST, gpu.listed(rows(made.host.spec.gpu)).encode())
        made.host.put(paths.HOST_CONFIG, b'{"workload_user": "dev"}')
        yield made


@pytest.fixture
def busy(box: Provisioned) -> Provisioned:
    """With a policy in force that gives a GPU to one sandbox at a time."""
    box.activate(BEFORE)
    return box


def taken(box: Provisioned, holder: str) -> AbstractContextManager[None]:
    if holder == HOLDERS[2]:
        return box.meanwhile(*OTHER, "python3", "-c", KEEP, paths.GPU_LOCKS)
    return box.running("alone" if holder == HOLDERS[0] else "shared")


def refused(box: Provisioned) -> bool:
    """Whether a workload of the policy's is kept off the GPU."""
    done = box.launch("true", policy="alone")
    assert (done.returncode == 125) == ("another sandbox has the GPU" in done.stderr), done.stderr
    return done.returncode == 125


def host_program(box: Provisioned, *argv: str, data: bytes = b"") -> dict[str, Any]:
    done = box.host.exec([paths.HOST_PROGRAM, *argv], data=data, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def statuses(results: Sequence[Mapping[str, Any]]) -> Statuses:
    return {result["check_id"]: (result["status"], result["reason"]) for result in results}


def probed(box: Provisioned) -> Statuses:
    """Every check that is planned for the policy."""
    request = {"checks": None, "user": "dev", "egress_peer": None, "policy": "alone"}
    return statuses(host_program(box, "probe", data=json.dumps(request).encode())["results"])


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_policy_is_activated_and_rolled_back_while_the_gpu_is_taken(busy: Provisioned, holder: str) -> None:
    new = compiled(AFTER)
    with taken(busy, holder):
        assert refused(busy)
        activated = host_program(busy, "activate", new.digest, "--bundle", "-", data=new.tar)
        returned = host_program(busy, "rollback")
        assert refused(busy)
    assert (activated["digest"], returned["digest"]) == (new.digest, compiled(BEFORE).digest)
    for answer in (activated, returned):
        found = statuses(answer["smoke"])
        assert "FBX-SBX-001" in found
        assert {status for status, _ in found.values()} <= {"pass", "not_applicable"}, answer
    assert not refused(busy)


@pytest.mark.parametrize("holder", HOLDERS)
def test_checks_come_to_the_same_while_the_gpu_is_taken(busy: Provisioned, holder: str) -> None:
    free = probed(busy)
    with taken(busy, holder):
        found = probed(busy)
    assert found == free
    assert {found[check][0] for check in ("FBX-GPU-001", "FBX-GPU-002", "FBX-GPU-004")} == {"pass"}
    assert not [check for check, (status, _) in found.items() if status in ("fail", "error")]
