"""GPU nodes and sockets: a node is passed through when opening it says that there is no driver.

With a GPU a workload may make UNIX sockets, so every socket of the host has to be out of reach by each way
to name one: connect, sendto and sendmsg.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

POLICIES = {
    "main": "",
    "none": "gpu_passthrough: false\n",
    "review": "mode: read-only\n",
    "review-gpu": "mode: read-only\ngpu_passthrough: true\n",
    "minimal": "filesystem: {root: minimal}\n",
    "required": "devices: {gpu: {mode: required}}\n",
    "ruled": """
filesystem: {rules: [{path: /srv/node, access: write}]}
devices: {gpu: {mode: none}, allow: [/dev/dri/renderD128, /dev/nvidia-modeset]}
""",
}
NVIDIA = {"/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia0"}
OTHERS = {"/dev/nvidia-modeset", "/dev/dri/card0", "/dev/dri/renderD128"}
OPEN = """
import errno, os, sys
for path in sys.argv[1:]:
    try: os.open(path, os.O_RDWR); print(path, "opened")
    except OSError as problem: print(path, errno.errorcode[problem.errno])
"""


@pytest.fixture(scope="module")
def hosts(lab: Lab, launcher: Path) -> Iterator[list[Provisioned]]:
    specs = (HostSpec.of("gpu", suite="trixie", gpu="nvidia"), HostSpec.of("eight", gpu="nvidia8"))
    with provisioned(lab, launcher, *specs, HostSpec.of("bare")) as made:
        for box in made:
            box.change("touch /srv/node")
            box.activate(POLICIES)
        yield made


@pytest.fixture(scope="module")
def gpu(hosts: list[Provisioned]) -> Provisioned:
    return hosts[0]


@pytest.fixture(scope="module")
def bare(hosts: list[Provisioned]) -> Provisioned:
    return hosts[2]


def opened(box: Provisioned, nodes: set[str], policy: str | None = None) -> dict[str, str]:
    """What opening each node for reading and writing says inside; ENODEV is ENXIO to us."""
    done = box.launch("python3", "-c", OPEN, *sorted(nodes), policy=policy)
    assert done.returncode == 0, done.stderr
    words = (line.split() for line in done.stdout.splitlines())
    return {path: answer.replace("ENODEV", "ENXIO") for path, answer in words}


@pytest.mark.parametrize("policy", ["main", "review-gpu", "minimal"])
def test_the_compute_nodes_are_devices_and_no_others_are_there(gpu: Provisioned, policy: str) -> None:
    assert opened(gpu, NVIDIA, policy) == dict.fromkeys(NVIDIA, "ENXIO")
    assert opened(gpu, OTHERS, policy) == dict.fromkeys(OTHERS, "ENOENT")


@pytest.mark.parametrize("policy", ["none", "review"])
def test_no_node_is_there_without_a_gpu_or_unasked_in_read_only_mode(gpu: Provisioned, policy: str) -> None:
    assert opened(gpu, NVIDIA | OTHERS, policy) == dict.fromkeys(NVIDIA | OTHERS, "ENOENT")


def test_all_eight_gpus_are_there(hosts: list[Provisioned]) -> None:
    cards = {f"/dev/nvidia{index}" for index in range(8)}
    assert opened(hosts[1], cards) == dict.fromkeys(cards, "ENXIO")


def test_with_a_gpu_cuda_gets_its_settings(gpu: Provisioned) -> None:
    script = (
        'echo "$CUDA_DEVICE_ORDER $CUDA_CACHE_PATH"; mkdir -p ${CUDA_CACHE_PATH:-/} && ls -d /sys/bus/pci'
    )
    assert gpu.sh(script).stdout == "PCI_BUS_ID /tmp/fleetbox-cuda-cache\n/sys/bus/pci\n"
    assert gpu.sh(script, policy="none").stdout == " \n/sys/bus/pci\n"


def test_a_device_that_the_policy_names_works_wherever_it_lies(gpu: Provisioned) -> None:
    gpu.change("mount --bind /dev/nvidia0 /srv/node")
    try:
        nodes = {"/dev/dri/renderD128", "/srv/node", "/dev/nvidia-modeset"}
        assert opened(gpu, nodes, "ruled") == dict.fromkeys(nodes, "ENXIO")
        # A plain bind carries nodev: this is what the rule is worth something against.
        assert opened(gpu, {"/srv/node"}, "none") == {"/srv/node": "EACCES"}
        assert opened(gpu, {"/dev/dri/card0"} | NVIDIA, "ruled") == dict.fromkeys(
            {"/dev/dri/card0"} | NVIDIA, "ENOENT"
        )
    finally:
        gpu.change("umount /srv/node")


LISTEN = """
import os, select, socket, sys
held = []
for directory in sys.argv[1:]:
    os.makedirs(directory, exist_ok=True)
    for kind, name in ((socket.SOCK_STREAM, "stream"), (socket.SOCK_DGRAM, "dgram")):
        one = socket.socket(socket.AF_UNIX, kind)
        one.bind(directory + "/" + name)
        os.chmod(directory + "/" + name, 0o666)
        if kind == socket.SOCK_STREAM: one.listen(99)
        held.append(one)
abstract = socket.socket(socket.AF_UNIX)
abstract.bind("\\0fleetbox-test")
abstract.listen(99)
print("ready", flush=True)
sys.stdin.read()
"""
DOORS = """
import errno, socket, sys
def stream(): return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
def dgram(): return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def abstract(): stream().connect("\\0fleetbox-test")
doors = {"abstract": abstract}
for d in sys.argv[1:]:
    doors |= {
        d + " connect": lambda d=d: stream().connect(d + "/stream"),
        d + " connect dgram": lambda d=d: dgram().connect(d + "/dgram"),
        d + " sendto": lambda d=d: dgram().sendto(b"x", d + "/dgram"),
        d + " sendmsg": lambda d=d: dgram().sendmsg([b"x"], [], 0, d + "/dgram"),
    }
for name, door in doors.items():
    try: door(); print("OPEN", name)
    except OSError as problem: print("closed", name, errno.errorcode.get(problem.errno))
"""
PLACES = ("/run/fleetbox-test", "/srv/sockets", f"{WORKSPACE}/sockets", "/tmp/sockets")
TWIN = """
import os, socket
for name in ("\\0own", "/tmp/own", "own"):
    a = socket.socket(socket.AF_UNIX); a.bind(name); a.listen(1)
    b = socket.socket(socket.AF_UNIX); b.connect(name); b.sendall(b"x")
    assert a.accept()[0].recv(1) == b"x"
    c = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
os.unlink("own")
print("works")
"""


@pytest.fixture
def listening(gpu: Provisioned) -> Iterator[None]:
    """Sockets of the host, as a service of another account holds them."""
    with _holding(gpu.host, *PLACES):
        yield
    gpu.change(f"rm -rf {' '.join(PLACES)}")


def _holding(host: Host, *places: str) -> "subprocess.Popen[bytes]":
    argv = host.exec_argv(["python3", "-c", LISTEN, *places])
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_no_socket_of_the_host_can_be_reached_by_any_door(gpu: Provisioned, listening: None) -> None:
    outside = gpu.run("python3", "-c", DOORS, *PLACES).stdout.splitlines()
    assert len(outside) == 1 + 4 * len(PLACES)
    assert all(line.startswith("OPEN ") for line in outside), "or the claim is empty"
    inside = gpu.launch("python3", "-c", DOORS, *PLACES)
    assert len(inside.stdout.splitlines()) == len(outside), inside.stderr
    assert "OPEN" not in inside.stdout


def test_with_a_gpu_a_workload_has_sockets_of_its_own(gpu: Provisioned) -> None:
    assert gpu.launch("python3", "-c", TWIN).stdout == "works\n"


@pytest.mark.parametrize("which", ["a host without a GPU", "a policy without one"])
def test_without_a_gpu_only_socketpairs_are_left(gpu: Provisioned, bare: Provisioned, which: str) -> None:
    box, policy = (bare, "main") if which == "a host without a GPU" else (gpu, "none")
    program = """
import socket
a, b = socket.socketpair(); a.sendall(b"x"); print(b.recv(1))
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    try: socket.socket(socket.AF_UNIX, kind); print("made")
    except PermissionError: print("refused")
"""
    assert box.launch("python3", "-c", program, policy=policy).stdout == "b'x'\n" + "refused\n" * 3
