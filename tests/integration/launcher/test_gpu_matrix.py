"""What a sandbox has of the GPUs of each kind of machine: nodes, environment, words; printed as a matrix.

The machines are data (tests/support/hosts/gpus.py): their nodes have no driver, so opening one that was
passed through says ENXIO, one that was bound wrongly EACCES, a hidden one ENOENT. Every node of a machine is
tried in every cell: what a cell does not name must be hidden.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.hosts.gpus import MACHINES, capability, mig_minor
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import Gpu, HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

CUDA = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")
EIGHT = tuple(f"nvidia{minor}" for minor in range(8))
# Where MIG is on, in the order of the driver's numbers: gi1, gi1/ci0, gi2, gi2/ci0, gi2/ci1.
GI1, GI1_CI0 = capability(mig_minor(0, 1)).path, capability(mig_minor(0, 1, 0)).path
GI2, GI2_CI0 = capability(mig_minor(0, 2)).path, capability(mig_minor(0, 2, 0)).path
GI2_CI1 = capability(mig_minor(0, 2, 1)).path
MIG = (GI1, GI1_CI0, GI2, GI2_CI0, GI2_CI1)
TEGRA = tuple(
    node.path for node in MACHINES[Gpu.JETSON].every_node if not node.path.startswith("dri/")
)  # fmt: skip

POLICIES = {
    "default": "",
    "no GPU": "gpu_passthrough: false\n",
    "read-only": "mode: read-only\n",
    "read-only with GPU": "mode: read-only\ngpu_passthrough: true\n",
    "minimal root": "filesystem: {root: minimal}\n",
    "graphics": "devices: {gpu: {profile: graphics}}\n",
    "required": "devices: {gpu: {mode: required}}\n",
    "first": "devices: {gpu: {select: 0}}\n",
    "second and third": "devices: {gpu: {select: [1, 2]}}\n",
    "ninth": "devices: {gpu: {select: 8}}\n",
    "by UUID": "devices: {gpu: {select: GPU-8f3a1c02-4b7d-4c95-ae71-95c2e04d1b68}}\n",
    "by address": "devices: {gpu: {select: '03:00.0'}}\n",
    "by address, graphics": "devices: {gpu: {select: '0000:65:00.0', profile: graphics}}\n",
    "only AMD": "devices: {gpu: {vendors: [amd]}}\n",
    "only Intel": "devices: {gpu: {vendors: [intel]}}\n",
    "kept caches": """
filesystem:
  rules:
    - {path: ~/.nv, access: write}
    - {path: ~/.triton, access: write}
    - {path: ~/.triton/cache, access: read}
""",
    "jetson named": "devices: {gpu: {vendors: [jetson, nvidia]}}\n",
}
NAMED_TOO = "devices: {allow: [/dev/nvidia0, /dev/nvidiactl, /dev/nvidia-uvm, /dev/nvidia-uvm-tools]}\n"
NAMES = {words: "".join(c if c.isalnum() else "-" for c in words.lower()) for words in POLICIES}
WATCHED = (
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_CACHE_PATH", "ROCR_VISIBLE_DEVICES",
    "MIOPEN_USER_DB_PATH", "NEO_CACHE_DIR", "TRITON_CACHE_DIR",
)  # fmt: skip
TRITON = {"TRITON_CACHE_DIR": "/tmp/fleetbox-triton-cache"}
CUDA_ENV = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    "CUDA_CACHE_PATH": "/tmp/fleetbox-cuda-cache",
    **TRITON,
}
AMD_ENV = {"MIOPEN_USER_DB_PATH": "/tmp/fleetbox-miopen", **TRITON}
INTEL_ENV = {"NEO_CACHE_DIR": "/tmp/fleetbox-neo-cache", **TRITON}

EXPLAIN = ("--workspace", WORKSPACE, "--explain")
LOOK = """
import errno, json, os, sys
def tried(path):
    for flags in (os.O_RDWR, os.O_RDONLY):
        try:
            os.close(os.open(path, flags | os.O_NONBLOCK)); return "opened"
        except OSError as problem:
            answer = errno.errorcode[problem.errno].replace("ENODEV", "ENXIO")
            if answer != "EACCES": break
    return answer
env, *paths = sys.argv[1:]
links = {}
for directory, _, names in os.walk("/dev/dri"):
    for name in names:
        if os.path.islink(directory + "/" + name): links[name] = os.readlink(directory + "/" + name)
print(json.dumps({
    "nodes": {path: tried(path) for path in paths}, "links": links,
    "env": {name: os.environ[name] for name in env.split(",") if name in os.environ},
}))
"""


@dataclass(frozen=True)
class Cell:
    """One machine under one policy. `shown` are nodes below /dev; `says` is what stderr has."""

    gpu: str
    policy: str
    shown: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    says: str = ""
    refused: bool = False

    @property
    def id(self) -> str:
        return f"{self.gpu}-{NAMES[self.policy]}"


def refusal(gpu: str, policy: str, says: str) -> Cell:
    return Cell(gpu, policy, says=says, refused=True)


CELLS = (
    *(Cell("nvidia", policy, (*CUDA, "nvidia0"), CUDA_ENV)
      for policy in ("default", "read-only with GPU", "minimal root")),
    # What a policy leaves writable is used where it is.
    Cell("nvidia", "kept caches", (*CUDA, "nvidia0"), {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **TRITON}),
    Cell("nvidia", "no GPU"),
    Cell("nvidia", "read-only"),
    Cell("nvidia", "graphics", (*CUDA, "nvidia0", "nvidia-modeset", "dri/renderD128"), CUDA_ENV),
    Cell("nvidia", "first", (*CUDA, "nvidia0"),
         {**CUDA_ENV, "CUDA_VISIBLE_DEVICES": "GPU-5a1b2c3d-8e4f-4a6b-9c7d-1e2f3a4b5c6d"}),
    refusal("nvidia", "second and third", "1: there is no GPU of that index, but 1 of nvidia"),
    refusal("nvidia", "by UUID", "GPU-8f3a1c02-4b7d-4c95-ae71-95c2e04d1b68: no GPU is that one"),
    refusal("nvidia", "required", "node without driver: /dev/nvidiactl"),
    Cell("nvidia", "only AMD"),
    Cell("nvidia8", "default", (*CUDA, *EIGHT), CUDA_ENV),
    Cell("nvidia8", "graphics",
         (*CUDA, *EIGHT, "nvidia-modeset", *(f"dri/renderD{128 + number}" for number in range(8))), CUDA_ENV),
    # In PCI order, which is neither that of minors nor that of render nodes.
    Cell("nvidia8", "first", (*CUDA, "nvidia3"),
         {**CUDA_ENV, "CUDA_VISIBLE_DEVICES": "GPU-3c1f7a52-90b4-4e1d-8a66-0d2b5e9c7f13"}),
    Cell("nvidia8", "second and third", (*CUDA, "nvidia1", "nvidia0"),
         {**CUDA_ENV, "CUDA_VISIBLE_DEVICES":
             "GPU-8f3a1c02-4b7d-4c95-9e20-61d7a8f0b3e4,GPU-d45e9b17-2a08-4f63-b1c9-7e3f60a2d85c"}),
    Cell("nvidia8", "by UUID", (*CUDA, "nvidia2"),
         {**CUDA_ENV, "CUDA_VISIBLE_DEVICES": "GPU-8f3a1c02-4b7d-4c95-ae71-95c2e04d1b68"}),
    refusal("nvidia8", "ninth", "8: there is no GPU of that index, but 8 of nvidia"),
    refusal("nvidia8", "by address", "03:00.0: no GPU is that one; here are: nvidia 0000:07:00.0"),
    # A GPU that is taken whole is taken with its instances.
    Cell("mig", "default", (*CUDA, "nvidia0", "nvidia1", *MIG), CUDA_ENV),
    Cell("mig", "first", (*CUDA, "nvidia1"),
         {**CUDA_ENV, "CUDA_VISIBLE_DEVICES": "GPU-c9d8e7f6-1a2b-4c3d-8e5f-60718293a4b5"}),
    Cell("mig", "by address, graphics",
         (*CUDA, "nvidia0", *MIG, "nvidia-modeset", "dri/renderD129"),
         {**CUDA_ENV, "CUDA_VISIBLE_DEVICES": "GPU-1f2e3d4c-5b6a-4798-8a9b-acbdcedfe0f1"}),
    Cell("dxg", "default", ("dxg",), CUDA_ENV),
    Cell("dxg", "graphics", ("dxg",), CUDA_ENV),
    Cell("dxg", "minimal root", ("dxg",), CUDA_ENV),
    refusal("dxg", "first", "WSL2 has one node for all GPUs of Windows"),
    Cell("amd", "default", ("kfd", "dri/renderD128", "dri/renderD129"), AMD_ENV),
    Cell("amd", "graphics", ("kfd", "dri/renderD128", "dri/renderD129"), AMD_ENV),
    Cell("amd", "first", ("kfd", "dri/renderD128"),
         {**AMD_ENV, "ROCR_VISIBLE_DEVICES": "GPU-6e1f0c2ab4d85973"}),
    refusal("amd", "required", "node without driver: /dev/kfd"),
    Cell("intel", "default", ("dri/renderD128",), INTEL_ENV),
    Cell("intel", "by address", ("dri/renderD128",), INTEL_ENV),
    refusal("intel", "required", "node without driver: /dev/dri/renderD128"),
    Cell("mixed", "default", (*CUDA, "nvidia0"), CUDA_ENV),
    Cell("mixed", "graphics", (*CUDA, "nvidia0", "nvidia-modeset", "dri/renderD129"), CUDA_ENV),
    # An address names a GPU of whichever vendor; an index one of the first.
    Cell("mixed", "by address", ("kfd", "dri/renderD130"),
         {**AMD_ENV, "ROCR_VISIBLE_DEVICES": "GPU-51b7e60d9f24c38a"}),
    Cell("mixed", "only AMD", ("kfd", "dri/renderD130"), AMD_ENV),
    Cell("mixed", "only Intel", ("dri/renderD128",), INTEL_ENV),
    Cell("jetson", "default"),
    Cell("jetson", "jetson named", TEGRA, CUDA_ENV),
    Cell("nodriver", "default"),
    refusal("nodriver", "required", "module not loaded: nvidia does not have the GPU at 0000:65:00.0"),
    Cell("none", "default"),
    Cell("none", "first"),
    refusal("none", "required", "no driver: this machine shows no GPU of a vendor that the policy allows"),
    # Nodes that a driver left behind, and nothing says which is which.
    Cell("nodes", "default", (*CUDA, "nvidia0"), CUDA_ENV),
    refusal("nodes", "first", "0: the driver does not say which GPU that is"),
)  # fmt: skip


@pytest.fixture(scope="module")
def hosts(lab: Lab, launcher: Path) -> Iterator[dict[str, Provisioned]]:
    kinds = [str(kind) for kind in Gpu]
    with provisioned(lab, launcher, *(HostSpec.of(f"m-{kind}", gpu=kind) for kind in kinds)) as made:
        for box in made:
            box.run("mkdir", "-p", ".nv", ".triton/cache")
            box.activate({NAMES[words]: body for words, body in POLICIES.items()} | {"named-too": NAMED_TOO})
        yield dict(zip(kinds, made, strict=True))


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.id)
def test_a_sandbox_has_exactly_what_its_policy_means_on_this_machine(
    hosts: dict[str, Provisioned], cell: Cell, record_property: Callable[[str, object], None]
) -> None:
    box = hosts[cell.gpu]
    nodes = [f"/dev/{node.path}" for node in MACHINES[Gpu(cell.gpu)].every_node]
    done = box.launch("python3", "-c", LOOK, ",".join(WATCHED), *nodes, policy=NAMES[cell.policy])
    if cell.refused:
        record_property("gpu", f"{cell.gpu:8} {cell.policy:20} refused: {cell.says}")
        assert done.returncode == 125, done.stdout
        assert cell.says in done.stderr
        assert done.stdout == ""
        return
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    hidden = sum(answer == "ENOENT" for answer in seen["nodes"].values())
    env = " ".join(f"{name}={value}" for name, value in sorted(seen["env"].items()))
    nodes_and_env = f"{' '.join(cell.shown) or '-'}; {hidden} of {len(nodes)} hidden; {env or '-'}"
    record_property("gpu", f"{cell.gpu:8} {cell.policy:20} {nodes_and_env}")
    shown = {f"/dev/{name}" for name in cell.shown}
    assert seen["nodes"] == {node: "ENXIO" if node in shown else "ENOENT" for node in nodes}
    assert seen["env"] == cell.env
    assert done.stderr == ""


def test_every_kind_of_machine_is_in_the_matrix() -> None:
    assert {cell.gpu for cell in CELLS} == {str(kind) for kind in Gpu}
    assert {cell.policy for cell in CELLS} == set(POLICIES)
    assert len({cell.id for cell in CELLS}) == len(CELLS)


def test_a_render_node_has_the_name_that_udev_gives_it(hosts: dict[str, Provisioned]) -> None:
    """Level Zero looks for it there. A name of a node that is not shown is not there either."""
    box = hosts["mixed"]
    names = {"pci-0000:00:02.0-render": "../renderD128", "pci-0000:65:00.0-render": "../renderD129"}
    links = "".join(f"ln -s {target} /dev/dri/by-path/{name};" for name, target in names.items())
    box.change(f"mkdir /dev/dri/by-path; {links}")
    try:
        done = box.launch("python3", "-c", LOOK, "", "/dev/dri/renderD128", policy=NAMES["only Intel"])
    finally:
        box.change("rm -r /dev/dri/by-path")
    assert json.loads(done.stdout)["links"] == {"pci-0000:00:02.0-render": "../renderD128"}


def test_the_callers_choice_counts_where_the_policy_makes_none(hosts: dict[str, Provisioned]) -> None:
    show = ("sh", "-c", 'echo "${CUDA_VISIBLE_DEVICES-unset}"')
    own = {"CUDA_VISIBLE_DEVICES": "5"}
    assert hosts["nvidia8"].launch(*show, env=own).stdout == "5\n"
    assert hosts["nvidia8"].launch(*show, env=own, policy="first").stdout.startswith("GPU-3c1f7a52")
    assert hosts["amd"].launch(*show, env=own, policy="first").stdout == "unset\n"


def test_explain_says_of_every_gpu_whether_it_is_taken(hosts: dict[str, Provisioned]) -> None:
    chosen = hosts["nvidia8"].launch("true", policy="by-uuid", options=EXPLAIN).stdout
    assert "8f3a1c02-4b7d-4c95-ae71-95c2e04d1b68  (0000:4e:00.0, chosen)" in chosen
    assert chosen.count("not chosen") == 7
    mixed = hosts["mixed"].launch("true", options=EXPLAIN).stdout
    assert "amd  (not taken: nvidia comes first" in mixed
    assert "intel  (not taken: nvidia comes first" in mixed
    none = hosts["nodriver"].launch("true", options=EXPLAIN).stdout
    assert "none  (module not loaded: nvidia does not have the GPU at 0000:65:00.0)" in none


NEEDS = """
import ctypes, mmap, os, socket, stat, threading
def renamed():
    path = f"/proc/self/task/{threading.get_native_id()}/comm"
    open(path, "w").write("cuda-worker")
    print("thread", open(path).read().strip())
worker = threading.Thread(target=renamed); worker.start(); worker.join()
shm = os.open("/dev/shm/cuda.x", os.O_RDWR | os.O_CREAT, 0o600)
os.ftruncate(shm, 64 << 20); mmap.mmap(shm, 64 << 20)[:] = bytes(64 << 20)
print("shm", oct(stat.S_IMODE(os.stat("/dev/shm").st_mode)))
listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listening.bind("\\0cuda-uvmfd-1-2"); listening.listen(1)
print("socket", socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect_ex("\\0cuda-uvmfd-1-2"))
os.makedirs(os.environ["CUDA_CACHE_PATH"]); print("cache")
print("bus", bool(os.listdir("/sys/bus/pci/devices")))
"""


def test_what_cuda_needs_beside_nodes_is_there(hosts: dict[str, Provisioned]) -> None:
    done = hosts["nvidia"].launch("python3", "-c", NEEDS)
    assert done.stdout.split("\n") == [
        *("thread cuda-worker", "shm 0o1777", "socket 0", "cache", "bus True", "")
    ], done.stderr


def test_a_node_of_a_group_is_open_to_its_members(hosts: dict[str, Provisioned]) -> None:
    """Inside, other groups show as nobody's, and the kernel still goes by them."""
    box = hosts["amd"]
    box.change("chown root:video /dev/kfd; chmod 660 /dev/kfd")
    try:
        outsider = box.launch("python3", "-c", LOOK, "", "/dev/kfd")
        box.change("usermod -aG video dev")
        member = box.launch("python3", "-c", LOOK, "", "/dev/kfd")
    finally:
        box.change("gpasswd -d dev video; chown root:root /dev/kfd; chmod 666 /dev/kfd")
    assert "no use of the GPU: node unreadable: /dev/kfd can be opened by group 44 only" in outsider.stderr
    assert json.loads(outsider.stdout)["nodes"] == {"/dev/kfd": "EACCES"}
    assert member.stderr == ""
    assert json.loads(member.stdout)["nodes"] == {"/dev/kfd": "ENXIO"}


def test_nodes_that_are_named_as_well_are_a_gpu_all_the_same(hosts: dict[str, Provisioned]) -> None:
    """With one comes AF_UNIX, without which CUDA does not start."""
    script = "import socket; socket.socket(socket.AF_UNIX); print('made')"
    assert hosts["nvidia"].launch("python3", "-c", script, policy="named-too").stdout == "made\n"
