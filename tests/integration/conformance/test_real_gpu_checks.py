"""The command for a machine with a real GPU runs where nothing of ours is installed; here with a stand-in."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import payload
from tests.real_gpu import checks
from tests.support import gpu
from tests.support.gpu import Row
from tests.support.hosts.gpus import MACHINES
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import Gpu, HostSpec
from tests.support.provision import Provisioned, provisioned

pytestmark = pytest.mark.host

REPO = Path(__file__).resolve().parents[3]
CHECKOUT, PREPARED = "/home/dev/checkout", "/home/dev/prepared"


@pytest.fixture
def box(lab: Lab, launcher: Path, tmp_path: Path) -> Iterator[Provisioned]:
    """With two GPUs and their library; of what is provisioned only bubblewrap is used."""
    with provisioned(lab, launcher, HostSpec.of("real", gpu=Gpu.MIG.value)) as [made]:
        library = gpu.build("cuda", tmp_path)
        made.host.put(f"/usr/lib/{os.uname().machine}-linux-gnu/{library.name}", library.read_bytes())
        rows = [Row(f"/dev/nvidia{c.minor}", c.uuid, c.address, c.model) for c in MACHINES[Gpu.MIG].cards]
        made.host.put(gpu.LIST, gpu.listed(rows).encode())
        yield made


def archive(prepared: Path) -> bytes:
    """What somebody would copy there."""
    said = io.BytesIO()
    with tarfile.open(fileobj=said, mode="w") as tar:
        for path in (*payload.sources(), "tests/__init__.py", "tests/real_gpu"):
            tar.add(REPO / path, f"{CHECKOUT[1:]}/{path}")
        tar.add(prepared, PREPARED[1:])
    return said.getvalue()


def test_it_prints_what_each_policy_came_to(box: Provisioned, tmp_path: Path) -> None:
    assert checks.prepare(tmp_path / "prepared") == 0
    box.host.exec(["tar", "-x", "-C", "/"], data=archive(tmp_path / "prepared"))
    box.change(f"chown -R dev:dev {CHECKOUT} {PREPARED}")
    done = box.run("env", f"--chdir={CHECKOUT}", "python3", "-m", "tests.real_gpu.checks", "run", PREPARED)
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
