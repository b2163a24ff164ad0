"""From a vendor's spec and library to the nodes inside: `fleetbox-host gpu` on hosts, then a launch.

The spec is of the shape that NVIDIA's generator writes; the library is a stand-in (tests/unit/hostside), no
driver, put where a host has the real one.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import paths
from tests.integration.launcher.test_gpu_map import refused, select, shown
from tests.integration.launcher.test_gpu_matrix import CUDA, GI1, GI1_CI0, GI2, GI2_CI1
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import Gpu, HostSpec
from tests.support.provision import Provisioned, provisioned

pytestmark = pytest.mark.host

UNIT = Path(__file__).resolve().parents[2] / "unit/hostside"
SPEC = "/etc/cdi/nvidia.yaml"
SHOWN_FILES = (
    "/etc/vulkan/icd.d/nvidia_icd.json", "/run/nvidia-persistenced/socket", "/usr/bin/nvidia-smi",
    "/usr/lib/x86_64-linux-gnu/libcuda.so.580.1",
)  # fmt: skip
FIRST, SECOND = (f"MIG-00000000-0000-0000-0000-00000000000{number}" for number in (0, 1))
POLICIES = {
    "main": "",
    "cdi": select("nvidia.com/gpu=0", vendors=", vendors: [cdi]"),
    "first": select(FIRST),
    "second": select(SECOND),
}


@pytest.fixture(scope="module")
def hosts(lab: Lab, launcher: Path) -> Iterator[list[Provisioned]]:
    specs = (HostSpec.of("spec", gpu="nvidia"), HostSpec.of("instances", gpu="mig"))
    with provisioned(lab, launcher, *specs) as made:
        for box in made:
            box.activate(POLICIES)
        yield made


def looks_again(box: Provisioned) -> dict[str, Any]:
    done = box.root(paths.HOST_PROGRAM, "gpu")
    assert done.returncode == 0, done.stdout
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_device_of_a_vendors_spec_is_its_compute_nodes(hosts: list[Provisioned]) -> None:
    box = hosts[0]
    box.change("mkdir -p /etc/cdi")
    box.host.put(SPEC, (UNIT / "cdi/good/nvidia.yaml").read_bytes())
    box.change("".join(f"mkdir -p $(dirname {path}); touch {path}; " for path in SHOWN_FILES))
    assert "/etc/cdi/nvidia.yaml changed since the GPU map was made" in refused(box, "cdi")
    [without_yaml] = looks_again(box)["refused"]
    assert "role fleetbox.sandbox.gpu installs python3-yaml" in without_yaml["reasons"][0]

    box.change("apt-get -qq update && apt-get -qq install --no-install-recommends python3-yaml >/dev/null")
    answer = looks_again(box)
    assert (answer["changed"], answer["refused"], len(answer["devices"])) == (True, [], 5)
    assert shown(box, Gpu.NVIDIA, "cdi")[0] == {*CUDA, "nvidia0", "dri/renderD128"}

    box.change(f"echo '# again' >> {SPEC}")
    assert f"{SPEC} changed since the GPU map was made" in refused(box, "cdi")
    box.activate({**POLICIES, "another": ""})
    assert box.launch("true", policy="cdi").returncode == 0, "an activation looks again too"


def test_an_instance_is_selected_by_the_uuid_that_the_library_says(
    hosts: list[Provisioned], tmp_path: Path
) -> None:
    box = hosts[1]
    assert "no MIG instance of that UUID is known" in refused(box, "first")
    assert "libnvidia-ml.so.1: cannot open shared object file" in looks_again(box)["mig_problem"]

    library = tmp_path / "libnvidia-ml.so.1"
    place = ["-DBUS=0x65", "-DGI_0=1", "-DGI_1=2"]
    subprocess.run(
        ["cc", "-shared", "-fPIC", *place, "-o", str(library), str(UNIT / "fake_nvml.c")], check=True
    )
    box.host.put("/usr/lib/libnvidia-ml.so.1", library.read_bytes())
    answer = looks_again(box)
    assert [one["uuid"] for one in answer["mig"]] == [FIRST, SECOND]
    assert answer["mig_problem"] == ""
    assert {"0000:65:00.0", "0000:65:00.0-gi1", "0000:65:00.0-gi2"} < set(answer["locks"])
    assert shown(box, Gpu.MIG, "first") == ({*CUDA, "nvidia0", GI1, GI1_CI0}, FIRST)
    assert shown(box, Gpu.MIG, "second") == ({*CUDA, "nvidia0", GI2, GI2_CI1}, SECOND)

    devices = json.loads(box.root(paths.HOST_PROGRAM, "facts").stdout)["gpu"]["devices"]
    uuids = {one["uuid"] for device in devices for one in device["mig"]}
    assert uuids == {FIRST, SECOND, ""}
