"""devices.gpu.exclusive: a GPU of one's own, among all sandboxes of the machine, whoever's they are."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from fleetbox.hostside.gpu_map import GpuMap, Mig, encode
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

ALONE = "exclusive: true"
GI1 = "MIG-11111111-2222-5333-8444-555555555510"
GI2 = "MIG-11111111-2222-5333-8444-555555555520"
POLICIES = {
    "shared": "",
    "alone": f"devices: {{gpu: {{{ALONE}}}}}\n",
    "first": f"devices: {{gpu: {{{ALONE}, select: 0}}}}\n",
    "second": f"devices: {{gpu: {{{ALONE}, select: 1}}}}\n",
    "first-shared": "devices: {gpu: {select: 0}}\n",
    "none": "gpu_passthrough: false\n",
    "gi1": f"devices: {{gpu: {{{ALONE}, select: {GI1}}}}}\n",
    "gi2": f"devices: {{gpu: {{{ALONE}, select: {GI2}}}}}\n",
    "gi2-shared": f"devices: {{gpu: {{select: {GI2}}}}}\n",
}
LOCKS = ("0000:17:00.0", "0000:65:00.0", "0000:65:00.0-gi1-ci0", "0000:65:00.0-gi2-ci0")


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("locked", gpu="mig")) as [made]:
        made.activate(POLICIES)
        instances = (Mig(GI1, "0000:65:00.0", 1, 0), Mig(GI2, "0000:65:00.0", 2, 0))
        made.host.put(paths.GPU_MAP, encode(GpuMap(instances)))
        for name in LOCKS:
            made.host.put(f"{paths.GPU_LOCKS}/{name}", b"")
        made.change("useradd -m other; install -d -o other /home/other/ws")
        yield made


@contextmanager
def held(box: Provisioned, policy: str) -> Iterator[None]:
    """A sandbox of dev's that runs meanwhile."""
    argv = [
        "setpriv",
        "--reuid=dev",
        "--regid=dev",
        "--init-groups",
        "--reset-env",
        "env",
        "--chdir=/home/dev",
    ]
    command = box.command("sh", "-c", "echo ready; read end", policy=policy)
    process = subprocess.Popen(
        box.host.exec_argv([*argv, *command]), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.communicate(b"\n", timeout=20)


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
        ("gi1", "gi1", "another sandbox has the GPU 0000:65:00.0-gi1-ci0"),
        ("gi2", "gi2-shared", "another sandbox has the GPU 0000:65:00.0-gi2-ci0 for itself"),
        ("gi1", "second", "another sandbox has the GPU 0000:65:00.0, which the policy wants for itself"),
        ("second", "gi1", "another sandbox has the GPU 0000:65:00.0 for itself"),
        ("second", "gi2-shared", "another sandbox has the GPU 0000:65:00.0 for itself"),
    ],
)
def test_a_gpu_is_had_alone_or_together(box: Provisioned, holder: str, starting: str, says: str) -> None:
    with held(box, holder):
        seen = starts(box, starting)
    assert says in seen if says else seen == ""
    assert starts(box, starting) == "", "the end of a sandbox lets go of its GPU"


def test_other_accounts_are_kept_off_as_well(box: Provisioned) -> None:
    launch = ["setpriv", "--reuid=other", "--regid=other", "--clear-groups", "env", "--chdir=/home/other/ws",
              paths.LAUNCHER, "--policy", "first-shared", "--", "true"]  # fmt: skip
    with held(box, "alone"):
        done = box.host.exec(launch, check=False)
    assert b"another sandbox has the GPU" in done.stderr
    assert box.host.exec(launch, check=False).returncode == 0


def test_a_launcher_that_is_killed_lets_go(box: Provisioned) -> None:
    with held(box, "alone"):
        box.change("kill -9 $(pgrep -o -x fleetbox-run)")
        box.change(
            "for i in $(seq 100); do pgrep -x fleetbox-run >/dev/null || exit 0; sleep .05; done; exit 1"
        )
        assert starts(box, "alone") == ""


def test_looking_takes_no_lock(box: Provisioned) -> None:
    with held(box, "alone"):
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


def test_what_runs_outside_of_sandboxes_takes_no_lock(box: Provisioned) -> None:
    """The limit: a lock is an agreement of launches, and the driver knows nothing of it."""
    with held(box, "alone"):
        done = box.run(
            "python3", "-c", "import os\ntry: os.open('/dev/nvidia0', 2)\nexcept OSError as p: print(p.errno)"
        )
    assert done.stdout in {"6\n", "19\n"}, "ENXIO or ENODEV: it may be opened, no driver answers here"
