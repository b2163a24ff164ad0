"""What a launch says of a GPU that cannot be used, for every state of one: with `required` and with `auto`.

`fleetbox doctor` uses the same words (tests/unit/hostside/test_gpu.py); "library missing" is its alone,
because the launcher asks no library. No driver is behind these nodes: what stands in for one that works is
/dev/null, bound over the node.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

POLICIES = {
    "auto": "",
    "required": "devices: {gpu: {mode: required}}\n",
    "jetson": "devices: {gpu: {mode: required, vendors: [jetson]}}\n",
    "first": "devices: {gpu: {mode: required, select: 0}}\n",
    "first-auto": "devices: {gpu: {select: 0}}\n",
}
WORKS = "for n in {nodes}; do mount --bind /dev/null /dev/$n; done"
AGAIN = "for n in {nodes}; do umount /dev/$n; done"
CONTROL = "nvidiactl nvidia-uvm"


@dataclass(frozen=True)
class Case:
    """A machine after `change`. `auto` is whether a warning says the same without refusing."""

    gpu: str
    change: str
    restore: str
    says: str
    auto: bool = True
    policy: str = "required"


def works(gpu: str, nodes: str, says: str = "", policy: str = "required") -> Case:
    return Case(gpu, WORKS.format(nodes=nodes), AGAIN.format(nodes=nodes), says, auto=False, policy=policy)


def gone(gpu: str, node: str) -> Case:
    return Case(gpu, f"mv /dev/{node} /dev/x", f"mv /dev/x /dev/{node}", f"node missing: /dev/{node}")


def closed(gpu: str, node: str) -> Case:
    says = f"node unreadable: /dev/{node} cannot be opened by this account"
    return Case(gpu, f"chmod 600 /dev/{node}", f"chmod 666 /dev/{node}", says)


def grouped(gpu: str, node: str) -> Case:
    says = f"node unreadable: /dev/{node} can be opened by group 44 only"
    change = f"chown root:44 /dev/{node}; chmod 660 /dev/{node}"
    return Case(gpu, change, f"chown root:root /dev/{node}; chmod 666 /dev/{node}", says)


CASES = (
    works("nvidia", CONTROL),
    works("dxg", "dxg"),
    works("amd", "kfd dri/renderD128 dri/renderD129"),
    works("intel", "dri/renderD128"),
    # One of two GPUs does not answer: a problem with all of them, none with the other one alone.
    works("amd", "kfd dri/renderD128", "node without driver: /dev/dri/renderD129"),
    works("amd", "kfd dri/renderD128", policy="first"),
    Case("nvidia", "true", "true", "node without driver: /dev/nvidiactl is there", auto=False),
    Case("dxg", "true", "true", "node without driver: /dev/dxg", auto=False),
    Case("jetson", "true", "true", "node without driver: /dev/nvmap", auto=False, policy="jetson"),
    *(gone("nvidia", node) for node in ("nvidiactl", "nvidia-uvm", "nvidia0")),
    gone("mig", "nvidia-caps/nvidia-cap22"),
    *(closed("nvidia", node) for node in ("nvidiactl", "nvidia-uvm", "nvidia0")),
    closed("dxg", "dxg"),
    closed("amd", "kfd"),
    grouped("amd", "kfd"),
    grouped("intel", "dri/renderD128"),
    Case("dxg", "mv /dev/dxg /dev/x", "mv /dev/x /dev/dxg",
         "no driver: this machine shows no GPU", auto=False),
    Case("nodriver", "true", "true", "module not loaded: nvidia does not have the GPU", auto=False),
    Case("none", "true", "true", "no driver: this machine shows no GPU", auto=False),
)  # fmt: skip


@pytest.fixture(scope="module")
def hosts(lab: Lab, launcher: Path) -> Iterator[dict[str, Provisioned]]:
    kinds = sorted({"nvidia8", *(case.gpu for case in CASES)})
    with provisioned(lab, launcher, *(HostSpec.of(f"h-{kind}", gpu=kind) for kind in kinds)) as made:
        for box in made:
            box.activate(POLICIES)
        yield dict(zip(kinds, made, strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.gpu}: {case.says or 'works'}")
def test_the_state_of_a_gpu_is_named_before_anything_runs(
    hosts: dict[str, Provisioned], case: Case, record_property: Callable[[str, object], None]
) -> None:
    record_property("gpu", f"{case.gpu:8} required, {case.change[:60]:60} {case.says or 'runs'}")
    box = hosts[case.gpu]
    box.change(case.change)
    try:
        required = box.launch("sh", "-c", "echo ran", policy=case.policy)
        auto = box.launch("sh", "-c", "echo ran", policy="auto")
    finally:
        box.change(case.restore)
    assert auto.stdout == "ran\n", auto.stderr
    assert auto.stderr == (warning(case.says, auto.stderr) if case.auto else "")
    if not case.says:
        assert (required.stdout, required.stderr) == ("ran\n", "")
        return
    assert (required.returncode, required.stdout) == (125, "")
    assert f"fleetbox-run: the policy requires a GPU: {case.says}" in required.stderr
    assert "hint: `fleetbox doctor` shows what this machine lacks" in required.stderr
    assert box.run("ls", "-A", WORKSPACE).stdout == ""


def warning(says: str, seen: str) -> str:
    """The one line, of which the node may be told more than `says`."""
    head = f"fleetbox-run: warning: no use of the GPU: {says}"
    return seen if seen.startswith(head) and seen.count("\n") == 1 else head


@pytest.fixture
def one_absent(hosts: dict[str, Provisioned]) -> Iterator[Provisioned]:
    """Eight GPUs, of which the first in PCI order has no node: as in a container that was given others."""
    box = hosts["nvidia8"]
    box.change("mv /dev/nvidia3 /dev/x")
    yield box
    box.change("mv /dev/x /dev/nvidia3")


def test_a_gpu_that_is_not_there_leaves_the_others(one_absent: Provisioned) -> None:
    done = one_absent.launch("sh", "-c", "ls /dev/nvidia?", policy="auto")
    assert done.stdout.split() == [f"/dev/nvidia{minor}" for minor in (0, 1, 2, 4, 5, 6, 7)]
    assert "warning: no use of one GPU: node missing: /dev/nvidia3" in done.stderr


def test_a_chosen_gpu_that_is_not_there_is_refused_with_auto_as_well(one_absent: Provisioned) -> None:
    done = one_absent.launch("sh", "-c", "echo ran", policy="first-auto")
    assert (done.returncode, done.stdout) == (125, "")
    assert "devices.gpu.select: GPU-3c1f7a52" in done.stderr
    assert "node missing: /dev/nvidia3" in done.stderr


def test_a_gpu_that_the_driver_excludes_counts_in_no_order(hosts: dict[str, Provisioned]) -> None:
    box = hosts["nvidia8"]
    information = "/proc/driver/nvidia/gpus/0000:07:00.0/information"
    box.change(f"sed -i 's/GPU Excluded:.*/GPU Excluded:\\t Yes/' {information}")
    try:
        assert box.launch("sh", "-c", "ls /dev/nvidia?", policy="first-auto").stdout == "/dev/nvidia1\n"
        assert "/dev/nvidia3" not in box.launch("sh", "-c", "ls /dev/nvidia?", policy="auto").stdout
    finally:
        box.change(f"sed -i 's/GPU Excluded:.*/GPU Excluded:\\t No/' {information}")
