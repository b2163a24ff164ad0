"""Hosts with GPUs show what the machines of gpus.py would: to a shell first, then to the host program.

No driver stands behind a node, so the facts call a GPU whose nodes are tried "node without driver".
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from typing import Any

import pytest

from fleetbox.hostside import paths, stream
from tests.support.hosts import gpus
from tests.support.hosts.fixtures import MakeHost
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import Gpu, HostSpec

pytestmark = pytest.mark.host

Hosts = dict[Gpu, Host]
KINDS = [kind for kind in Gpu if kind is not Gpu.NONE]
ON_THE_BUS = [kind for kind in KINDS if gpus.MACHINES[kind].cards]
BY_NVIDIA = [kind for kind in KINDS if gpus.MACHINES[kind].nvidia]
FRESH_PROC = "exec unshare --user --map-root-user --pid --fork --mount mount -t proc proc /proc"
OPEN = (
    "import os, sys\nfor path in sys.argv[1:]:\n try: os.open(path, 0)\n except OSError as e: print(e.errno)"
)
LIST_NODES = "find /dev -type c ! -path '/dev/pts/*' -exec stat -c '%n %Hr:%Lr %a' {} +"
LIST_BUS = """
cd /sys/bus/pci/devices
for one in *; do
    driver=$(readlink $one/driver || echo none)
    said=$(cat $one/vendor $one/device $one/class $one/numa_node)
    echo $one $said ${driver##*/} $(ls $one/drm 2>/dev/null)
done
"""


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[Hosts]:
    hooks = {Gpu.DXG: ["wsl2"]}
    made = lab.up(*(HostSpec.of(f"gpu-{kind}", gpu=kind, hooks=hooks.get(kind, [])) for kind in KINDS))
    yield dict(zip(KINDS, made, strict=True))
    lab.down(*made)


def said(host: Host, script: str) -> list[str]:
    return host.ssh(["sh", "-c", script]).stdout.decode().splitlines()


def facts(host: Host) -> dict[str, Any]:
    done = host.ssh([paths.PYTHON, "-I", "-S", "-"], data=stream.script(["facts"]).encode())
    found: dict[str, Any] = json.loads(done.stdout)["gpu"]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_these_nodes_are_there_and_no_others(hosts: Hosts, kind: Gpu) -> None:
    own = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")}
    listed = [line for line in said(hosts[kind], LIST_NODES) if line.split()[0] not in own]
    nodes = gpus.MACHINES[kind].every_node
    assert sorted(listed) == sorted(f"/dev/{one.path} {one.major}:{one.minor} {one.mode:o}" for one in nodes)


@pytest.mark.parametrize("kind", KINDS)
def test_no_driver_answers_at_any_of_them(hosts: Hosts, kind: Gpu) -> None:
    nodes = [f"/dev/{one.path}" for one in gpus.MACHINES[kind].every_node if one.mode & 0o004]
    answers = hosts[kind].ssh(["python3", "-c", OPEN, *nodes]).stdout.split()
    assert len(answers) == len(nodes)
    assert {int(one) for one in answers} <= {errno.ENXIO, errno.ENODEV}


@pytest.mark.parametrize("kind", ON_THE_BUS)
def test_the_bus_has_these_gpus_alone(hosts: Hosts, kind: Gpu) -> None:
    def line(card: gpus.Card) -> str:
        words = (card.address, card.vendor, card.device, card.kind, card.numa_node, card.driver or "none")
        return " ".join([*map(str, words), *(node.path.removeprefix("dri/") for node in card.graphics)])

    assert said(hosts[kind], LIST_BUS) == [line(card) for card in gpus.MACHINES[kind].cards]


@pytest.mark.parametrize("kind", BY_NVIDIA)
def test_nvidias_driver_says_what_it_has(hosts: Hosts, kind: Gpu) -> None:
    host = hosts[kind]
    expected = []
    for card in gpus.MACHINES[kind].nvidia:
        expected += [f"Model: \t\t {card.model}", f"GPU UUID: \t {card.uuid}"]
        expected += [f"Bus Location: \t {card.address}", f"Device Minor: \t {card.minor}"]
    names = "Model|GPU UUID|Bus Location|Device Minor"
    assert said(host, f"grep -hE '^({names}):' /proc/driver/nvidia/gpus/*/information") == expected
    assert said(host, "cat /sys/module/nvidia/version") == [gpus.DRIVER_VERSION]
    assert f"  {gpus.DRIVER_VERSION}  " in said(host, "cat /proc/driver/nvidia/version")[0]
    assert set(said(host, "cat /proc/devices")) >= {f"{major} {name}" for name, major in gpus.MAJORS.items()}
    assert "Block devices:" in said(host, "cat /proc/devices")


@pytest.mark.parametrize("kind", [Gpu.NONE, Gpu.NODES, Gpu.NODRIVER, Gpu.AMD, Gpu.JETSON])
def test_without_its_driver_nothing_of_nvidia_is_in_proc(
    hosts: Hosts, make_host: MakeHost, kind: Gpu
) -> None:
    host = hosts[kind] if kind in hosts else make_host()
    assert said(host, "ls -d /proc/driver/nvidia* /sys/module/nvidia* 2>/dev/null; true") == []


def test_eight_gpus_are_counted_in_no_order_and_two_uuids_begin_alike() -> None:
    cards = gpus.MACHINES[Gpu.NVIDIA8].cards
    orders = [
        [card.address for card in cards],
        [card.minor for card in cards],
        [card.render for card in cards],
    ]
    assert orders[0] == sorted(orders[0])
    assert all(sorted(order) != order for order in orders[1:])
    assert sorted(orders[1]) == list(range(8))
    beginnings = [card.uuid.rpartition("-")[0].rpartition("-")[0] for card in cards]
    assert len(set(beginnings)) == 7
    assert len({card.uuid for machine in gpus.MACHINES.values() for card in machine.nvidia}) == 12


def test_mig_counts_more_instances_than_exist(hosts: Hosts) -> None:
    lines = said(hosts[Gpu.MIG], "cat /proc/driver/nvidia-caps/mig-minors")
    assert lines[:3] == ["config 1", "monitor 2", "gpu0/gi0/access 3"]
    assert {"gpu0/gi1/access 12", "gpu0/gi2/ci1/access 23", "gpu1/gi0/access 138"} <= set(lines)
    made = "cd /proc/driver/nvidia/capabilities; find gpu* -name access | sort; cat gpu0/mig/gi2/ci1/access"
    assert said(hosts[Gpu.MIG], made) == [
        *(f"gpu0/mig/{at}/access" for at in ("gi1", "gi1/ci0", "gi2", "gi2/ci0", "gi2/ci1")),
        *("DeviceFileMinor: 23", "DeviceFileMode: 292", "DeviceFileModify: 1"),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sandbox_can_still_have_a_proc_of_its_own_and_nothing_counts_as_changed(
    hosts: Hosts, kind: Gpu
) -> None:
    assert said(hosts[kind], FRESH_PROC) == []
    assert hosts[kind].overlay_diff() == []


def test_root_of_the_host_can_close_a_node_and_take_the_driver_away(make_host: MakeHost) -> None:
    host = make_host(gpu="mixed")
    host.exec(["chmod", "660", "/dev/kfd"])
    assert said(host, "stat -c '%a %U:%G' /dev/kfd; test -r /dev/kfd || echo closed") == [
        "660 root:root",
        "closed",
    ]
    host.exec(["rm", "-r", "/proc/driver/nvidia", "/sys/bus/pci/devices/0000:65:00.0/driver"])
    states = {device["vendor"]: device["health"] for device in facts(host)["devices"]}
    assert states == {"nvidia": "no driver", "amd": "node unreadable", "intel": EMPTY}


# By kind: whose they are, and for each its vendor, address, minor, number of MIG instances and health.
EMPTY = "node without driver"
FACTS: dict[Gpu, tuple[str, list[tuple[str, str, int | None, int, str]]]] = {
    Gpu.NODES: ("nvidia", [("nvidia", "", None, 0, EMPTY)]),
    Gpu.NODRIVER: ("none", [("nvidia", "0000:65:00.0", None, 0, "no driver")]),
    Gpu.NVIDIA: ("nvidia", [("nvidia", "0000:65:00.0", 0, 0, EMPTY)]),
    Gpu.NVIDIA8: (
        "nvidia",
        [
            ("nvidia", f"0000:{bus}:00.0", minor, 0, EMPTY)
            for bus, minor in zip(
                ("07", "0f", "47", "4e", "87", "90", "b7", "bd"), (3, 1, 0, 2, 7, 5, 4, 6), strict=True
            )
        ],
    ),
    Gpu.MIG: (
        "nvidia",
        [("nvidia", "0000:17:00.0", 1, 0, EMPTY), ("nvidia", "0000:65:00.0", 0, 3, EMPTY)],
    ),
    Gpu.DXG: ("wsl", [("wsl", "", None, 0, EMPTY)]),
    Gpu.AMD: ("amd", [("amd", f"0000:{bus}:00.0", None, 0, EMPTY) for bus in ("23", "c3")]),
    Gpu.INTEL: ("intel", [("intel", "0000:03:00.0", None, 0, EMPTY)]),
    Gpu.MIXED: (
        "nvidia",
        [
            ("nvidia", "0000:65:00.0", 0, 0, EMPTY),
            ("amd", "0000:03:00.0", None, 0, EMPTY),
            ("intel", "0000:00:02.0", None, 0, EMPTY),
        ],
    ),
    Gpu.JETSON: ("jetson", [("jetson", "", None, 0, EMPTY)]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_host_program_finds_the_gpus(hosts: Hosts, kind: Gpu) -> None:
    found = facts(hosts[kind])
    named = ("vendor", "pci", "minor")
    # The NPU is a processing accelerator as some GPUs are, and is not judged here.
    devices = [device for device in found["devices"] if device["pci"] != "0000:00:0b.0"]
    seen = [(*(one[name] for name in named), len(one["mig"]), one["health"]) for one in devices]
    assert (found["kind"], seen) == FACTS[kind]
    by_nvidia = {card.address: card for card in gpus.MACHINES[kind].nvidia}
    assert {one["pci"]: one["uuid"] for one in devices if one["pci"] in by_nvidia} == {
        address: card.uuid for address, card in by_nvidia.items()
    }


def test_the_host_program_finds_the_mig_instances_that_exist(hosts: Hosts) -> None:
    [mig] = [device["mig"] for device in facts(hosts[Gpu.MIG])["devices"] if device["mig"]]
    caps = "/dev/nvidia-caps/nvidia-cap"
    assert [(one["gpu_instance"], one["compute_instance"], one["nodes"]) for one in mig] == [
        (1, 0, [f"{caps}12", f"{caps}13"]),
        (2, 0, [f"{caps}21", f"{caps}22"]),
        (2, 1, [f"{caps}21", f"{caps}23"]),
    ]
