"""A host whose mount namespaces run out while a sandbox is being made, as a workload can bring about."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

SETTING = "/proc/sys/user/max_mnt_namespaces"


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("few", kind="uml")) as [box]:
        box.activate({"main": "filesystem: {tmp: private}\n"})
        yield box


def test_the_inner_stage_does_not_leave_its_work_to_bwrap_for_want_of_room(box: Provisioned) -> None:
    """What bwrap mounts can be moved away meanwhile (ADR 0004), and it would be remembered."""
    enough = box.run("cat", SETTING).stdout.strip()
    try:
        box.change(f"echo 1 > {SETTING}")
        done = box.sh("echo ran")
    finally:
        box.change(f"echo {enough} > {SETTING}")
    assert (done.returncode, done.stdout) == (125, "")
    assert "no room for the mounts of the sandbox: No space left on device" in done.stderr
    command = box.launch("true", options=("--workspace", WORKSPACE, "--dry-run")).stdout
    assert "--cap-add CAP_SYS_ADMIN" in command
    assert box.sh("echo ran").stdout == "ran\n"
