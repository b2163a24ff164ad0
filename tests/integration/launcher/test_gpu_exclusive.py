"""devices.gpu.exclusive: a GPU of one's own, among all sandboxes of the machine, whoever's they are."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from fleetbox.hostside.gpu_map import Device, GpuMap, Mig, Node, encode
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

ALONE = "exclusive: true"
GI1 = "MIG-11111111-2222-5333-8444-555555555510"
GI2 = "MIG-11111111-2222-5333-8444-555555555520"
GI2_CI1 = "MIG-11111111-2222-5333-8444-555555555521"
CDI = "vendors: [cdi], select: vendor.example/gpu=0"
NAMED = "[/dev/nvidia1, /dev/nvidiactl]"
POLICIES = {
    "shared": "",
    "alone": f"devices: {{gpu: {{{ALONE}}}}}\n",
    "first": f"devices: {{gpu: {{{ALONE}, select: 0}}}}\n",
    "second": f"devices: {{gpu: {{{ALONE}, select: 1}}}}\n",
    "first-shared": "devices: {gpu: {select: 0}}\n",
    "none": "gpu_passthrough: false\n",
    "gi1": f"devices: {{gpu: {{{ALONE}, select: {GI1}}}}}\n",
    "gi2": f"devices: {{gpu: {{{ALONE}, select: {GI2}}}}}\n",
    "gi2-ci1": f"devices: {{gpu: {{{ALONE}, select: {GI2_CI1}}}}}\n",
    "gi2-whole": f"devices: {{gpu: {{{ALONE}, select: [{GI2}, {GI2_CI1}]}}}}\n",
    "dxg": f"devices: {{gpu: {{{ALONE}}}, allow: [/dev/dxg]}}\n",
    "named-too": f"devices: {{gpu: {{{ALONE}}}, allow: {NAMED}}}\n",
    "second-shared": "devices: {gpu: {select: 1}}\n",
    "named": f"devices: {{gpu: {{mode: none}}, allow: {NAMED}}}\n",
    "cdi": f"devices: {{gpu: {{{CDI}}}}}\n",
    "cdi-alone": f"devices: {{gpu: {{{ALONE}, {CDI}}}}}\n",
    "gi2-shared": f"devices: {{gpu: {{select: {GI2}}}}}\n",
}
LOCKS = ("0000:17:00.0", "0000:65:00.0", "0000:65:00.0-gi1", "0000:65:00.0-gi2")


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("locked", gpu="mig")) as [made]:
        made.activate(POLICIES)
        places = {GI1: (1, 0), GI2: (2, 0), GI2_CI1: (2, 1)}
        instances = tuple(Mig(uuid, "0000:65:00.0", *place) for uuid, place in places.items())
        node = Node("/dev/nvidia1", "/dev/nvidia1", None, None)
        device = Device("vendor.example/gpu=0", (node,))
        made.host.put(paths.GPU_MAP, encode(GpuMap(instances, (), (device,))))
        for name in LOCKS:
            made.host.put(f"{paths.GPU_LOCKS}/{name}", b"")
        made.change("useradd -m other; install -d -o other /home/other/ws")
        yield made


def starts(box: Provisioned, policy: str) -> str:
    """ "" for a sandbox that starts, else why it does not."""
    done = box.launch("true", policy=policy)
    assert (done.returncode == 0) == (done.stderr == ""), done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("holder", "starting", "says"),
    [
        ("alone", "alone", "another sandbox has the GPU 0000:17:00.0, which the policy wants for itself"),
        ("alone", "shared", "another sandbox has the GPU 0000:17:00.0 for itself"),
        ("shared", "alone", "which the policy wants for itself"),
        ("shared", "shared", ""),
        ("alone", "none", ""),
        ("first", "second", ""),
        ("first", "first-shared", "another sandbox has the GPU 0000:17:00.0 for itself"),
        ("second", "shared", "another sandbox has the GPU 0000:65:00.0 for itself"),
        ("gi1", "gi2", ""),
        ("gi1", "gi1", "another sandbox has the GPU 0000:65:00.0-gi1"),
        ("gi2", "gi2-shared", "another sandbox has the GPU 0000:65:00.0-gi2 for itself"),
        ("gi1", "second", "another sandbox has the GPU 0000:65:00.0, which the policy wants for itself"),
        ("second", "gi1", "another sandbox has the GPU 0000:65:00.0 for itself"),
        ("second", "gi2-shared", "another sandbox has the GPU 0000:65:00.0 for itself"),
        # A whole GPU is all of its instances, and what computes in one of them shares its memory.
        ("gi1", "shared", "another sandbox has the GPU 0000:65:00.0-gi1 for itself"),
        ("gi1", "second-shared", "another sandbox has the GPU 0000:65:00.0-gi1 for itself"),
        ("shared", "gi1", "another sandbox has the GPU 0000:65:00.0-gi1, which the policy wants for itself"),
        ("gi2", "gi2-ci1", "another sandbox has the GPU 0000:65:00.0-gi2, which the policy wants for itself"),
        # A GPU is known by its nodes, whoever named them.
        ("first", "named", "another sandbox has the GPU 0000:17:00.0 for itself"),
        ("named", "first", "another sandbox has the GPU 0000:17:00.0, which the policy wants for itself"),
        ("first", "cdi", "another sandbox has the GPU 0000:17:00.0 for itself"),
        ("cdi-alone", "first-shared", "another sandbox has the GPU 0000:17:00.0 for itself"),
        ("named", "cdi", ""),
        ("second", "named", ""),
    ],
)
def test_a_gpu_is_had_alone_or_together(box: Provisioned, holder: str, starting: str, says: str) -> None:
    with box.running(holder):
        seen = starts(box, starting)
    assert says in seen if says else seen == ""
    assert starts(box, starting) == "", "the end of a sandbox lets go of its GPU"


@pytest.mark.parametrize("policy", ["gi2-whole", "named-too"])
def test_a_launch_does_not_stand_in_its_own_way(box: Provisioned, policy: str) -> None:
    """Two instances in one part of a GPU, or a node that is chosen and named, are one lock."""
    assert starts(box, policy) == ""


def test_a_node_of_wsl_that_is_named_as_well_is_one_lock(lab: Lab, launcher: Path) -> None:
    with provisioned(lab, launcher, HostSpec.of("windows", gpu="dxg", hooks=["wsl2"])) as [made]:
        made.activate(POLICIES)
        assert starts(made, "dxg") == ""
        with made.running("dxg"):
            assert "another sandbox has the GPU dxg" in starts(made, "dxg")


def test_other_accounts_are_kept_off_as_well(box: Provisioned) -> None:
    launch = ["setpriv", "--reuid=other", "--regid=other", "--clear-groups", "env", "--chdir=/home/other/ws",
              paths.LAUNCHER, "--policy", "first-shared", "--", "true"]  # fmt: skip
    with box.running("alone"):
        done = box.host.exec(launch, check=False)
    assert b"another sandbox has the GPU" in done.stderr
    assert box.host.exec(launch, check=False).returncode == 0


def test_a_launcher_that_is_killed_lets_go(box: Provisioned) -> None:
    with box.running("alone"):
        box.change("kill -9 $(pgrep -o -x fleetbox-run)")
        box.change(
            "for i in $(seq 100); do pgrep -x fleetbox-run >/dev/null || exit 0; sleep .05; done; exit 1"
        )
        assert starts(box, "alone") == ""


def test_looking_takes_no_lock(box: Provisioned) -> None:
    with box.running("alone"):
        for option in ("--explain", "--dry-run"):
            done = box.launch("true", policy="alone", options=("--workspace", WORKSPACE, option))
            assert (done.returncode, done.stderr) == (0, "")


def test_a_workload_can_take_no_lock(box: Provisioned) -> None:
    done = box.launch("ls", paths.GPU_LOCKS, policy="shared")
    assert done.returncode != 0
    assert done.stdout == ""


def test_without_a_lock_nothing_is_had_alone(box: Provisioned) -> None:
    box.change(f"mv {paths.GPU_LOCKS} {paths.GPU_LOCKS}.away")
    try:
        assert "there is no lock for the GPU 0000:17:00.0" in starts(box, "alone")
        assert starts(box, "shared") == ""
    finally:
        box.change(f"mv {paths.GPU_LOCKS}.away {paths.GPU_LOCKS}")


@pytest.mark.parametrize(
    ("change", "restore", "says"),
    [
        ("chmod 700", "chmod 755", "cannot open the lock for the GPU 0000:17:00.0"),
        ("chmod 000", "chmod 755", "cannot open the lock for the GPU 0000:17:00.0"),
    ],
)
def test_locks_that_cannot_be_opened_are_not_taken_for_missing_ones(
    box: Provisioned, change: str, restore: str, says: str
) -> None:
    box.change(f"{change} {paths.GPU_LOCKS}")
    try:
        assert says in starts(box, "shared")
    finally:
        box.change(f"{restore} {paths.GPU_LOCKS}")


def test_what_runs_outside_of_sandboxes_takes_no_lock(box: Provisioned) -> None:
    """The limit: a lock is an agreement of launches, and the driver knows nothing of it."""
    with box.running("alone"):
        done = box.run(
            "python3", "-c", "import os\ntry: os.open('/dev/nvidia0', 2)\nexcept OSError as p: print(p.errno)"
        )
    assert done.stdout in {"6\n", "19\n"}, "ENXIO or ENODEV: it may be opened, no driver answers here"
