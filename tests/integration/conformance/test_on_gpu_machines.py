"""The GPU checks on every kind of machine, through the real launcher, with stand-ins for the libraries.

The machines are data (tests/support/hosts/gpus.py) without drivers, the libraries are ours: that the checks
decide, and decide rightly, is shown here, not that a real GPU computes (docs/verified-on.md).
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fleetbox.conformance import expect
from fleetbox.hostside import paths
from fleetbox.policy import load_policy
from tests.support import gpu
from tests.support.gpu import Row
from tests.support.hosts.gpus import MACHINES
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import Gpu, HostSpec
from tests.support.provision import HEAD, Provisioned, provisioned

pytestmark = pytest.mark.host

POLICIES = {
    "default": "",
    "nothing": "gpu_passthrough: false\n",
    "two": "devices: {gpu: {select: [1, 2]}}\n",
    "ninth": "devices: {gpu: {select: 8}}\n",
    "graphics": "devices: {gpu: {profile: graphics}}\n",
    "amd": "devices: {gpu: {select: '03:00.0'}}\n",
    "jetson": "devices: {gpu: {vendors: [jetson]}}\n",
    "no-sockets": "process: {unix_sockets: none}\n",
}
KINDS = (Gpu.NVIDIA8, Gpu.MIG, Gpu.AMD, Gpu.INTEL, Gpu.MIXED, Gpu.JETSON, Gpu.DXG)
# The oldest Python and bubblewrap, and the newest.
SUITES = {Gpu.AMD: "bullseye", Gpu.INTEL: "trixie"}
ONE_NODE = {Gpu.DXG: Row("/dev/dxg"), Gpu.JETSON: Row("/dev/nvmap")}
NAMES = ("nodes", "computes", "undeclared", "closed", "needs")
CHECKS = dict(zip((f"FBX-GPU-00{number}" for number in range(1, 6)), NAMES, strict=True))
ALL = dict.fromkeys(NAMES, "pass")
NO_GPU = {**ALL, **dict.fromkeys(("computes", "closed", "needs"), "not_applicable")}

Boxes = Mapping[Gpu, Provisioned]
Results = Mapping[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def boxes(lab: Lab, launcher: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    folder = tmp_path_factory.mktemp("libraries")
    libraries = [gpu.build(name, folder) for name in gpu.NAMES]
    specs = [
        HostSpec.of(f"checked-{kind}", gpu=kind.value, suite=SUITES.get(kind, "bookworm")) for kind in KINDS
    ]
    with provisioned(lab, launcher, *specs) as made:
        for box in made:
            box.activate(POLICIES)
            box.host.put(gpu.LIST, gpu.listed(rows(box.host.spec.gpu)).encode())
            for library in libraries:
                where = f"/usr/lib/{os.uname().machine}-linux-gnu/{library.name}"
                box.host.put(where, library.read_bytes(), mode=0o755)
        yield dict(zip(KINDS, made, strict=True))


def rows(kind: Gpu) -> list[Row]:
    """What the machine's driver would know; stand-ins show those whose node they can open."""
    if kind in ONE_NODE:
        return [ONE_NODE[kind]]
    found = []
    for card in MACHINES[kind].cards:
        numbered = card.minor is not None
        node = f"/dev/nvidia{card.minor}" if numbered else f"/dev/dri/renderD{card.render}"
        if numbered or card.render is not None:
            found.append(Row(node, card.uuid or "0" * 32, card.address, card.model or "GPU"))
    return found


def probed(box: Provisioned, name: str, tmp_path: Path, *, against: str = "") -> Results:
    """Results of the GPU checks by name, of a policy in force held against itself or another."""
    path = tmp_path / "policy.yml"
    path.write_text(HEAD.format(name=name) + POLICIES[against or name])
    planned = [check for check in expect.checks_for(load_policy(path)) if check["id"] in CHECKS]
    request = {"checks": planned, "user": "dev", "egress_peer": None, "policy": name}
    done = box.host.exec([paths.HOST_PROGRAM, "probe"], data=json.dumps(request).encode(), timeout=120)
    return {CHECKS[result["check_id"]]: result for result in json.loads(done.stdout)["results"]}


def statuses(results: Results) -> dict[str, str]:
    return {name: result["status"] for name, result in results.items()}


@pytest.mark.parametrize(
    ("kind", "policy", "computed"),
    [
        (Gpu.NVIDIA8, "default", "8 GPUs computed: NVIDIA_H100_80GB_HBM3 with 81920 MiB"),
        (Gpu.NVIDIA8, "two", "2 GPUs computed"),
        (Gpu.NVIDIA8, "graphics", "8 GPUs computed"),
        (Gpu.MIG, "default", "2 GPUs computed: NVIDIA_A100"),
        (Gpu.AMD, "default", "2 GPUs computed: AMD_Instinct_MI210"),
        (Gpu.INTEL, "default", "1 GPU seen by Level Zero: "),
        (Gpu.MIXED, "default", "1 GPU computed: NVIDIA_GeForce_RTX_3090"),
        (Gpu.MIXED, "amd", "1 GPU computed: AMD_Instinct_MI210"),
        (Gpu.JETSON, "jetson", "1 GPU computed"),
        (Gpu.DXG, "default", "1 GPU computed"),
    ],
)
def test_what_a_policy_declares_computes_and_everything_else_is_out_of_reach(
    boxes: Boxes, kind: Gpu, policy: str, computed: str, tmp_path: Path
) -> None:
    results = probed(boxes[kind], policy, tmp_path)
    # Windows' GPU is the only node there; nothing is left to be hidden.
    expected = {**ALL, "undeclared": "not_applicable"} if kind is Gpu.DXG else ALL
    assert statuses(results) == expected, results
    assert results["computes"]["message"].startswith(computed)


@pytest.mark.parametrize("kind", KINDS)
def test_with_no_gpu_declared_none_is_there_and_no_library_finds_one(
    boxes: Boxes, kind: Gpu, tmp_path: Path
) -> None:
    results = probed(boxes[kind], "nothing", tmp_path)
    assert statuses(results) == NO_GPU, results
    assert "100 " in results["undeclared"]["message"] or kind is Gpu.INTEL


def test_more_than_was_selected_is_seen_by_its_node_and_by_its_library(boxes: Boxes, tmp_path: Path) -> None:
    results = probed(boxes[Gpu.NVIDIA8], "default", tmp_path, against="two")
    assert statuses(results) == {**ALL, "nodes": "fail", "computes": "fail", "undeclared": "fail"}
    assert results["computes"]["reason"] == "not_selected"


def test_less_than_was_selected_is_seen_by_both_as_well(boxes: Boxes, tmp_path: Path) -> None:
    results = probed(boxes[Gpu.NVIDIA8], "two", tmp_path, against="default")
    assert statuses(results)["nodes"] == "fail"
    assert results["computes"]["reason"] == "gpu_missing"


def test_a_selection_that_names_no_gpu_of_the_host_passes_nowhere(boxes: Boxes, tmp_path: Path) -> None:
    results = probed(boxes[Gpu.NVIDIA8], "ninth", tmp_path)
    assert "pass" not in statuses(results).values()
    assert results["nodes"]["message"] == "devices.gpu.select: 8: this host has none such"
    assert results["undeclared"]["reason"] == "launch_refused"


def test_a_policy_without_unix_sockets_gives_cuda_away_and_nothing_else(boxes: Boxes, tmp_path: Path) -> None:
    results = probed(boxes[Gpu.NVIDIA8], "no-sockets", tmp_path)
    assert statuses(results) == {**ALL, "computes": "not_applicable"}, results
    assert "304 CUDA_ERROR_OPERATING_SYSTEM" in results["closed"]["message"]


def test_a_library_that_hangs_keeps_no_other_check_from_its_answer(boxes: Boxes, tmp_path: Path) -> None:
    box = boxes[Gpu.MIXED]
    box.host.put(gpu.LIST, gpu.listed([Row("hang")]).encode())
    try:
        results = probed(box, "default", tmp_path)
    finally:
        box.host.put(gpu.LIST, gpu.listed(rows(Gpu.MIXED)).encode())
    assert statuses(results)["nodes"] == statuses(results)["needs"] == "pass"
    assert statuses(results)["computes"] == "inconclusive"
    assert "hung and was killed" in results["computes"]["message"]
    assert results["closed"]["reason"] == "hang"


def test_without_the_library_nothing_passes_that_needs_it(boxes: Boxes, tmp_path: Path) -> None:
    box = boxes[Gpu.AMD]
    library = f"/usr/lib/{os.uname().machine}-linux-gnu/{gpu.NAMES['hip']}"
    box.change(f"mv {library} {library}.away")
    try:
        results = probed(box, "default", tmp_path)
    finally:
        box.change(f"mv {library}.away {library}")
    missing = {name for name, result in results.items() if result["reason"] == "library_missing"}
    assert missing == {"computes", "closed"}
    assert "library missing: libamdhip64.so" in results["computes"]["message"]
