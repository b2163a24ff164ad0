"""What machines with a real GPU run works where nothing of ours is installed; here with a stand-in."""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import payload
from tests.real_gpu.prepare import prepare
from tests.support import gpu
from tests.support.gpu import Row
from tests.support.hosts.gpus import MACHINES
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import Gpu, HostSpec
from tests.support.provision import Provisioned, provisioned

pytestmark = pytest.mark.host

REPO = Path(__file__).resolve().parents[3]
CHECKOUT, PREPARED = "/home/dev/checkout", "/home/dev/prepared"


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioned]:
    """With two GPUs, their library and what was prepared; of what is provisioned only bubblewrap is used."""
    tmp_path = tmp_path_factory.mktemp("real-gpu")
    with provisioned(lab, launcher, HostSpec.of("real", gpu=Gpu.MIG.value)) as [made]:
        library = gpu.build("cuda", tmp_path)
        made.host.put(f"/usr/lib/{os.uname().machine}-linux-gnu/{library.name}", library.read_bytes())
        rows = [Row(f"/dev/nvidia{c.minor}", c.uuid, c.address, c.model) for c in MACHINES[Gpu.MIG].cards]
        made.host.put(gpu.LIST, gpu.listed(rows).encode())
        assert prepare(tmp_path / "prepared") == 0
        made.host.exec(["tar", "-x", "-C", "/"], data=archive(tmp_path / "prepared"))
        made.change(f"chown -R dev:dev {CHECKOUT} {PREPARED}")
        yield made


def archive(prepared: Path) -> bytes:
    """What somebody would copy there."""
    said = io.BytesIO()
    with tarfile.open(fileobj=said, mode="w") as tar:
        for path in (*payload.sources(), "tests/__init__.py", "tests/real_gpu"):
            tar.add(REPO / path, f"{CHECKOUT[1:]}/{path}")
        tar.add(prepared, PREPARED[1:])
    return said.getvalue()


def test_the_checks_of_each_policy_are_printed(box: Provisioned) -> None:
    done = box.run("env", f"--chdir={CHECKOUT}", "python3", "-m", "tests.real_gpu", "checks", PREPARED)
    lines = [line.split() for line in done.stdout.splitlines()]
    found: dict[str, list[str]] = {}
    for words in lines:
        if words[0] == "policy":
            found[words[1]] = []
        else:
            found[list(found)[-1]].append(words[1])
    without = ["pass", "not_applicable", "pass", "not_applicable", "not_applicable"]
    # A required GPU must answer, and here no driver does.
    assert found == {
        "all": ["pass"] * 5,
        "first": found["first"],
        "graphics": ["pass"] * 5,
        "none": without,
    }, done.stdout + done.stderr
    assert "pass" not in found["first"]
    assert "2 GPUs computed" in done.stdout


def test_the_trials_run_as_an_account_inside_and_outside(box: Provisioned) -> None:
    """Without PyTorch, which no host has, and with something that answers for a driver."""
    box.change("for n in nvidiactl nvidia-uvm; do mount --bind /dev/null /dev/$n; done")
    argv = ["env", f"--chdir={CHECKOUT}", "python3", "-m", "tests.real_gpu", "run", PREPARED]
    done = box.host.exec(argv, check=False)
    report = json.loads(box.host.get(f"{PREPARED}/report.json"))
    right = {trial["name"]: trial["right"] for trial in report["trials"]}
    assert right == {
        "nodes and environment": True,
        "cuInit, context, memory round trip": True,
        "the same, one GPU chosen": True,
        "PyTorch matrix product": False,
        "PyTorch data loader, 4 workers": False,
        "network and files stay closed after CUDA": False,
        "no GPU in the policy: CUDA must fail": True,
    }, done.stdout
    assert done.returncode == 1
    said = {trial["name"]: trial["inside"]["said"] for trial in report["trials"]}
    assert len(json.loads(said["cuInit, context, memory round trip"])["gpus"]) == 2
    assert len(json.loads(said["the same, one GPU chosen"])["gpus"]) == 1
    assert len(report["start_ms"]["inside"]) == len(report["start_ms"]["outside"]) > 0
