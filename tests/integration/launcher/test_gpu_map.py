"""MIG instances by UUID and CDI devices by name: what only the GPU map tells a launch.

The map's bytes are made here by what `fleetbox-host gpu` makes them with; that it reads specifications and
NVML rightly is shown in tests/unit/hostside.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from fleetbox.hostside.gpu_map import Device, GpuMap, Mig, Mount, Node, Refused, Source, Variable, encode
from tests.integration.launcher.test_gpu_matrix import (
    CUDA,
    EXPLAIN,
    GI1,
    GI1_CI0,
    GI2,
    GI2_CI0,
    GI2_CI1,
    LOOK,
)
from tests.support.hosts.gpus import MACHINES
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import Gpu, HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

SPEC = "/etc/cdi/vendor.json"
WORDS = b'{"cdiVersion": "0.6.0"}'
MIG_GPU = "0000:65:00.0"
INSTANCES = {
    "MIG-11111111-2222-5333-8444-555555555510": (1, 0),
    "MIG-11111111-2222-5333-8444-555555555520": (2, 0),
    "MIG-11111111-2222-5333-8444-555555555521": (2, 1),
    # As it was before somebody divided the GPU anew.
    "MIG-11111111-2222-5333-8444-555555555550": (5, 0),
}
FIRST, SECOND, THIRD, GONE = INSTANCES
NAMES = ("GPU-1f2e3d4c-5b6a-4798-8a9b-acbdcedfe0f1", *INSTANCES)


def select(*which: str, vendors: str = "") -> str:
    listed = ", ".join(f"'{one}'" for one in which)
    return f"devices: {{gpu: {{select: [{listed}]{vendors}}}}}\n"


CDI = ", vendors: [cdi]"
POLICIES = {
    "main": "",
    "one": select(SECOND),
    "two": select(FIRST, THIRD),
    "beside": select(SECOND, "GPU-c9d8e7f6-1a2b-4c3d-8e5f-60718293a4b5"),
    "whole": select(SECOND, MIG_GPU),
    "gone": select(GONE),
    "unknown": select("MIG-99999999-2222-5333-8444-555555555510"),
    "cdi": select("vendor.example/gpu=0", vendors=CDI),
    "cdi-refused": select("vendor.example/gpu=bad", vendors=CDI),
    "cdi-moved": select("vendor.example/gpu=moved", vendors=CDI),
    "cdi-numbers": select("vendor.example/gpu=numbers", vendors=CDI),
    "cdi-group": select("vendor.example/gpu=group", vendors=CDI),
    "cdi-unknown": select("vendor.example/gpu=9", vendors=CDI),
    "cdi-all": "devices: {gpu: {vendors: [cdi]}}\n",
    "cdi-minimal": "filesystem: {root: minimal, rules: [{path: /opt/secret, access: none}]}\n"
    + select("vendor.example/gpu=0", vendors=CDI),
    "cdi-beside": "devices: {gpu: {vendors: [cdi, nvidia]}}\n",
    "cdi-required": "devices: {gpu: {mode: required, vendors: [cdi]}}\n",
}


def node(path: str, major: int | None = None, minor: int | None = None) -> Node:
    return Node(path, path, major, minor)


# What a specification may show in a root that shows nothing, and what it may not.
MOUNTS = (
    *("/opt/vendor", "/opt/secret/inner", "/opt/link", "/opt/devs", "/opt/socket", "/tmp", "/tmp/vendor"),
    *("/home/dev/.ssh", "/run/vendor"),
)
DEVICES = (
    Device(
        "vendor.example/gpu=0",
        (node("/dev/nvidiactl", 195, 255), node("/dev/nvidia0")),
        tuple(Mount(path, path) for path in MOUNTS),
        (Variable("CUDA_VENDOR", "said"),),
    ),
    Device("vendor.example/gpu=all", (node("/dev/nvidia0"),)),
    Refused("vendor.example/gpu=bad", "it has a hook that would run on the host"),
    Device("vendor.example/gpu=group", (node("/dev/nvidia0"),), groups=(4711,)),
    Device("vendor.example/gpu=moved", (Node("/dev/nvidia0", "/dev/gpu0", None, None),)),
    Device("vendor.example/gpu=numbers", (node("/dev/nvidia0", 195, 7),)),
)


def gpu_map(sources: Sequence[Source] = (), devices: Sequence[Device | Refused] = DEVICES) -> bytes:
    mig = tuple(Mig(uuid, MIG_GPU, *place) for uuid, place in sorted(INSTANCES.items()))
    return encode(GpuMap(mig, tuple(sources), tuple(devices)))


def source(path: str = SPEC, content: bytes = WORDS) -> Source:
    return Source(path, len(content), f"{zlib.crc32(content):08x}")


PLACES = """
rm -rf /etc/cdi /run/cdi
for place in /opt/vendor /opt/secret/inner /opt/devs /home/dev/.ssh /run/vendor; do
    mkdir -p $place; echo library >$place/lib
done
chown -R dev:dev /opt/devs /home/dev/.ssh
ln -s /home/dev/.ssh /opt/link
ln -s /home/dev/.ssh /tmp/vendor
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/opt/socket")'
chmod 644 /opt/socket
"""


@pytest.fixture(scope="module")
def hosts(lab: Lab, launcher: Path) -> Iterator[dict[str, Provisioned]]:
    specs = (HostSpec.of("mig", gpu="mig"), HostSpec.of("cdi", gpu="nvidia"))
    with provisioned(lab, launcher, *specs) as made:
        for box in made:
            box.activate(POLICIES)
            box.change(PLACES)
        yield {"mig": made[0], "cdi": made[1]}


@pytest.fixture
def mig(hosts: dict[str, Provisioned]) -> Provisioned:
    hosts["mig"].host.put(paths.GPU_MAP, gpu_map())
    return hosts["mig"]


@pytest.fixture
def cdi(hosts: dict[str, Provisioned]) -> Iterator[Provisioned]:
    box = hosts["cdi"]
    box.host.put(SPEC, WORDS)
    box.host.put(paths.GPU_MAP, gpu_map([source()]))
    yield box
    box.change(f"rm -rf /etc/cdi /run/cdi {paths.GPU_MAP}")


def shown(box: Provisioned, gpu: Gpu, policy: str) -> tuple[set[str], str]:
    """The nodes that are there, all of them usable, and CUDA_VISIBLE_DEVICES."""
    nodes = [f"/dev/{one.path}" for one in MACHINES[gpu].every_node]
    done = box.launch("python3", "-c", LOOK, "CUDA_VISIBLE_DEVICES", *nodes, policy=policy)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert set(seen["nodes"].values()) <= {"ENXIO", "ENOENT"}
    there = {path.removeprefix("/dev/") for path, answer in seen["nodes"].items() if answer == "ENXIO"}
    return there, seen["env"].get("CUDA_VISIBLE_DEVICES", "")


def refused(box: Provisioned, policy: str) -> str:
    done = box.launch("sh", "-c", "echo ran", policy=policy)
    assert (done.returncode, done.stdout) == (125, "")
    return done.stderr


@pytest.mark.parametrize(
    ("policy", "rights", "visible"),
    [
        ("one", {GI2, GI2_CI0}, (SECOND,)),
        ("two", {GI1, GI1_CI0, GI2, GI2_CI1}, (FIRST, THIRD)),
    ],
)
def test_an_instance_is_its_two_rights_and_its_gpu(
    mig: Provisioned, policy: str, rights: set[str], visible: Sequence[str]
) -> None:
    assert shown(mig, Gpu.MIG, policy) == ({*CUDA, "nvidia0", *rights}, ",".join(visible))


def test_an_instance_can_be_had_beside_another_gpu(mig: Provisioned) -> None:
    there, visible = shown(mig, Gpu.MIG, "beside")
    assert there == {*CUDA, "nvidia0", "nvidia1", GI2, GI2_CI0}
    assert visible == f"GPU-c9d8e7f6-1a2b-4c3d-8e5f-60718293a4b5,{SECOND}"


def test_an_instance_of_a_gpu_that_is_chosen_whole_adds_nothing(mig: Provisioned) -> None:
    there, visible = shown(mig, Gpu.MIG, "whole")
    assert there == {*CUDA, "nvidia0", GI1, GI1_CI0, GI2, GI2_CI0, GI2_CI1}
    assert visible == "GPU-1f2e3d4c-5b6a-4798-8a9b-acbdcedfe0f1"


def test_an_instance_that_is_unknown_or_gone_is_refused(mig: Provisioned) -> None:
    assert "no MIG instance of that UUID is known" in refused(mig, "unknown")
    assert "that MIG instance is gone" in refused(mig, "gone")
    mig.change(f"rm {paths.GPU_MAP}")
    assert "no MIG instance of that UUID is known" in refused(mig, "one")
    assert "fleetbox-host gpu looks again" in refused(mig, "one")


def test_a_cdi_device_is_its_nodes_and_its_environment(cdi: Provisioned) -> None:
    assert shown(cdi, Gpu.NVIDIA, "cdi") == ({"nvidiactl", "nvidia0"}, "")
    assert cdi.sh('echo "$CUDA_VENDOR"', policy="cdi").stdout == "said\n"


def test_what_a_device_mounts_is_there_in_a_root_that_shows_nothing(cdi: Provisioned) -> None:
    script = "cat /opt/vendor/lib; echo x 2>/dev/null >/opt/vendor/lib || echo read-only"
    assert cdi.sh(script, policy="cdi-minimal").stdout == "library\nread-only\n"


def test_a_mount_shows_libraries_of_roots_and_nothing_that_the_policy_closes(cdi: Provisioned) -> None:
    """Also where a workload put a link in its place, which a specification of root's then names."""
    closed = [f"{path}/lib" for path in MOUNTS if path not in ("/opt/vendor", "/opt/socket")]
    done = cdi.launch("sh", "-c", 'cat "$@"; ls -A /tmp /opt', "sh", *closed, policy="cdi-minimal")
    assert done.stdout == "/opt:\nvendor\n\n/tmp:\n"
    explained = cdi.launch("true", policy="cdi-minimal", options=EXPLAIN).stdout
    assert "/opt/secret/inner: the policy closes it, not shown" in explained
    assert "/opt/socket: no file or directory that root alone can change, not shown" in explained
    assert "/opt/link: no library or program is there, not shown" in explained


def test_all_devices_are_the_one_of_that_name_and_cdi_comes_last(cdi: Provisioned) -> None:
    assert shown(cdi, Gpu.NVIDIA, "cdi-all")[0] == {"nvidia0"}
    assert shown(cdi, Gpu.NVIDIA, "cdi-beside")[0] == {*CUDA, "nvidia0"}


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("cdi-refused", "CDI device vendor.example/gpu=bad cannot be used: it has a hook"),
        ("cdi-moved", "shows /dev/nvidia0 as /dev/gpu0"),
        ("cdi-numbers", "/dev/nvidia0 is 195:0, not 195:7"),
        ("cdi-group", "wants group 4711, which this account does not have"),
        ("cdi-unknown", "vendor.example/gpu=9: no GPU is that one"),
    ],
)
def test_a_device_that_cannot_be_had_as_it_was_said_is_refused(
    cdi: Provisioned, policy: str, says: str
) -> None:
    assert says in refused(cdi, policy)
    assert cdi.run("ls", "-A", WORKSPACE).stdout == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (f"echo >> {SPEC}", f"{SPEC} changed since the GPU map was made"),
        (f"cp {SPEC} /etc/cdi/second.yaml", "/etc/cdi/second.yaml changed since the GPU map was made"),
        (f"install -D {SPEC} /run/cdi/vendor.json", "/var/run/cdi/vendor.json changed since"),
        (f"rm {SPEC}", "a CDI specification is gone since the GPU map was made"),
        (f"chmod 600 {SPEC}", f"{SPEC} changed since the GPU map was made"),
        (f"chown dev {paths.GPU_MAP}", "the GPU map belongs to uid"),
        (f"chmod 666 {paths.GPU_MAP}", "the GPU map can be written by others"),
        (f"mv {paths.GPU_MAP} /tmp/m; ln -s /tmp/m {paths.GPU_MAP}", "cannot open the GPU map"),
        (f"printf x >> {paths.GPU_MAP}", "the GPU map is truncated or has trailing bytes"),
        (f"sed -i s/nvidia0/nvidia1/ {paths.GPU_MAP}", "the GPU map is corrupted"),
        (f"echo > {paths.GPU_MAP}", "the GPU map is truncated"),
    ],
)
def test_a_map_that_is_stale_or_not_roots_is_refused(cdi: Provisioned, change: str, says: str) -> None:
    cdi.change(change)
    assert says in refused(cdi, "cdi")
    assert cdi.launch("true").returncode == 0, "without CDI nothing hangs on it"


def test_what_is_no_specification_does_not_count(cdi: Provisioned) -> None:
    cdi.change(f"cp {SPEC} /etc/cdi/notes.txt; ln -s {SPEC} /etc/cdi/link.json; mkdir /etc/cdi/d.json")
    assert shown(cdi, Gpu.NVIDIA, "cdi")[0] == {"nvidiactl", "nvidia0"}


def test_without_a_map_there_is_no_cdi_device(cdi: Provisioned) -> None:
    cdi.change(f"rm -r /etc/cdi {paths.GPU_MAP}")
    assert cdi.launch("true", policy="cdi-all").returncode == 0
    assert "the policy requires a GPU: no driver" in refused(cdi, "cdi-required")


SPECIFICATION = {
    "cdiVersion": "0.6.0",
    "kind": "vendor.example/gpu",
    "containerEdits": {"deviceNodes": [{"path": "/dev/nvidiactl", "major": 195, "minor": 255}]},
    "devices": [
        {
            "name": "0",
            "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0"}], "env": ["CUDA_VENDOR=said"]},
        },
        {"name": "bad", "containerEdits": {"hooks": [{"hookName": "prestart", "path": "/usr/bin/evil"}]}},
    ],
}


def test_a_specification_works_from_its_file_to_the_sandbox(cdi: Provisioned) -> None:
    """Nothing made by hand: an administrator's file, one command of the host's, a launch."""
    cdi.host.put(SPEC, json.dumps(SPECIFICATION).encode())
    assert "changed since the GPU map was made" in refused(cdi, "cdi")
    said = json.loads(cdi.change(f"{paths.HOST_PROGRAM} gpu"))
    assert said["devices"] == ["vendor.example/gpu=0"]
    assert shown(cdi, Gpu.NVIDIA, "cdi")[0] == {"nvidiactl", "nvidia0"}
    assert cdi.sh('echo "$CUDA_VENDOR"', policy="cdi").stdout == "said\n"
    assert "hook" in refused(cdi, "cdi-refused")


def test_activation_leaves_a_lock_for_every_gpu(hosts: dict[str, Provisioned]) -> None:
    assert hosts["mig"].change(f"ls {paths.GPU_LOCKS}").split() == [
        *("0000:17:00.0", "0000:65:00.0", "0000:65:00.0-gi1", "0000:65:00.0-gi2")
    ]
