"""The table of mutations on a real host: pushed, verified over ssh against the strict policy, put right."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import paths
from fleetbox.hostside.checks import CHECKS
from tests.integration.conformance.mutations import HEAD, MUTATIONS, STRICT, WITH_GPU, Mutation
from tests.support import gpu
from tests.support.gpu import Row
from tests.support.hosts.gpus import MACHINES
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec

pytestmark = pytest.mark.host

REPO = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
WORKLOAD = "fleetbox-workload"
REAL = paths.LAUNCHER + ".real"
LINUX = f"{paths.CURRENT}/{paths.LINUX_DIR}"

Statuses = Mapping[str, str]


@dataclass(frozen=True)
class Checked:
    """A provisioned host with GPU nodes, and the command as an operator runs it."""

    lab: Lab
    host: Host
    folder: Path

    def fleetbox(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """Inside the hosts' network, without a terminal."""
        return self.lab.controller(
            [str(BIN / "python"), "-m", "fleetbox.cli", *argv, "-l", self.host.name],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd=self.folder,
            env={
                "FLEETBOX_INVENTORY": str(self.lab.inventory),
                "FLEETBOX_STATE_DIR": str(self.folder / "state"),
            },
        )  # fmt: skip

    def policy(self, text: str, name: str = "pushed") -> str:
        path = self.folder / f"{name}.yml"
        path.write_text(HEAD + text)
        return str(path)

    def push(self, text: str) -> None:
        done = self.fleetbox("push-policy", self.policy(text), "-y", "--no-verify", "--allow-unsigned")
        assert done.returncode == 0, done.stderr

    def verify(self, strict: str = STRICT) -> tuple[int, Statuses, dict[str, Any]]:
        """Exit code, statuses by check, and the host's record, held against the strict policy."""
        done = self.fleetbox("verify", "--policy", self.policy(strict, "strict"), "--json")
        assert done.stdout, done.stderr
        (record,) = json.loads(done.stdout)["hosts"]
        return done.returncode, {r["check_id"]: r["status"] for r in record["results"]}, record


@pytest.fixture(scope="module")
def checked(lab: Lab, launcher: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    [host] = lab.up(HostSpec.of("checked", gpu="nvidia"))
    done = lab.controller(
        [str(BIN / "ansible-playbook"), "-i", str(lab.inventory), "site.yml", "-l", host.name],
        capture_output=True, text=True, check=False, cwd=REPO,
        env={"ANSIBLE_CONFIG": str(REPO / "ansible.cfg")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    home = host.exec(["sh", "-c", f"getent passwd {WORKLOAD} | cut -d: -f6"]).stdout.decode().strip()
    host.exec(["install", "-d", f"--owner={WORKLOAD}", home, f"{home}/projects"])
    host.put(f"{home}/.bashrc", b"# a person's\n", owner=WORKLOAD)
    _library_of(host, gpu.build("cuda", tmp_path_factory.mktemp("library")))
    yield Checked(lab, host, tmp_path_factory.mktemp("checked"))
    lab.down(host)


def _library_of(host: Host, library: Path) -> None:
    """A stand-in for libcuda, and what it finds: the one GPU of the machine that the host looks like."""
    host.put(f"/usr/lib/{os.uname().machine}-linux-gnu/{library.name}", library.read_bytes(), mode=0o755)
    [card] = MACHINES[host.spec.gpu].cards
    row = Row(f"/dev/nvidia{card.minor}", card.uuid, card.address, card.model)
    host.put(gpu.LIST, gpu.listed([row]).encode())


@pytest.fixture
def strict(checked: Checked) -> Iterator[Checked]:
    """The strict policy in force, before and after."""
    checked.push(STRICT)
    yield checked
    checked.host.exec(["sh", "-c", f"[ ! -e {REAL} ] || mv -f {REAL} {paths.LAUNCHER}"])


def test_the_strict_policy_holds_and_every_check_is_decided(strict: Checked) -> None:
    code, statuses, record = strict.verify()
    undecided = {
        result["check_id"]: result["message"] for result in record["results"] if result["status"] != "pass"
    }
    # What only a declared GPU shows.
    assert undecided.keys() == {"FBX-GPU-002", "FBX-GPU-004", "FBX-GPU-005"}, undecided
    assert {statuses[check] for check in undecided} == {"not_applicable"}
    assert code == 0
    assert list(statuses) == [check.id for check in CHECKS]


@pytest.mark.parametrize("policy", [WITH_GPU, WITH_GPU.replace("auto", "auto, exclusive: true")])
def test_with_a_gpu_every_check_is_decided_and_holds(strict: Checked, policy: str) -> None:
    """By a stand-in for the library: no driver is behind the host's nodes."""
    strict.push(policy)
    code, _, record = strict.verify(policy)
    undecided = [result for result in record["results"] if result["status"] != "pass"]
    assert undecided == [], [(result["check_id"], result["message"]) for result in undecided]
    assert code == 0
    said = {result["check_id"]: result["message"] for result in record["results"]}
    assert "1 GPU computed: NVIDIA_GeForce_RTX_3090 with 81920 MiB" in said["FBX-GPU-002"]
    assert said["FBX-GPU-004"].startswith("after the GPU was used, the same process was denied")


def test_nothing_is_left_behind(strict: Checked) -> None:
    strict.verify()
    planted = ["*fleetbox-probe*", "*fleetbox-decoy*", "fleetbox-host-*", "fleetbox-fs*"]
    names = [word for pattern in planted for word in ("-o", "-name", pattern)][1:]
    for tree in ("/home", "/root", "/srv", "/tmp", "/var"):
        left = strict.host.exec(["find", tree, "-xdev", "(", *names, ")"], check=False)
        assert left.stdout == b""
    assert not [line for line in strict.host.processes() if "python3 -I -S" in line]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.check)
def test_a_mutation_turns_exactly_its_check_red(
    mutation: Mutation, strict: Checked, record_property: Callable[[str, object], None]
) -> None:
    if mutation.strict != STRICT:
        strict.push(mutation.strict)
    restore = _apply(mutation, strict)
    try:
        code, statuses, record = strict.verify(mutation.strict)
    finally:
        restore()
    red = {check for check, status in statuses.items() if status not in ("pass", "not_applicable")}
    record_property("mutation", f"{mutation.check:<11}  host     {mutation.what}")
    seen = {r["check_id"]: r for r in record["results"] if r["check_id"] in red | mutation.reds}
    assert red == mutation.reds, seen
    assert {statuses[check] for check in red} == {"fail"}, seen
    assert code == 100


def _apply(mutation: Mutation, checked: Checked) -> Callable[[], None]:
    """Do the wrong thing, and say how to undo what a push does not."""
    host = checked.host
    if mutation.policy:
        checked.push(mutation.policy)
    if mutation.launcher:
        host.exec(["cp", "-p", paths.LAUNCHER, REAL])
        host.put(paths.LAUNCHER, mutation.launcher(REAL).encode(), mode=0o755)
    if not mutation.damage:
        return lambda: None
    names = host.exec(["ls", f"{LINUX}/"]).stdout.decode().split()
    before = {name: host.get(f"{LINUX}/{name}") for name in names if name.endswith(".bpf")}
    changed = mutation.damage(before)
    _put(host, changed)
    return partial(_put, host, {name: before[name] for name in changed})


def _put(host: Host, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        host.put(f"{LINUX}/{name}", content)
