"""A host with more than a hundred mounts: each keeps its mode inside, and the policy holds on all of them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

COUNT = 120
POLICIES = {
    "main": """
filesystem:
  rules:
    - {path: /srv/m1, access: write}
    - {path: /srv/m2, access: none}
    - {path: "${WORKSPACE}/closed", access: none}
"""
}
# Shared, as systemd makes it: what the host mounts later would arrive everywhere.
SCENE = f"""
mount --make-rshared /
for n in $(seq {COUNT}); do
  mkdir -p /srv/d$n /srv/m$n; echo $n > /srv/d$n/f; chown -R dev /srv/d$n; mount --bind /srv/d$n /srv/m$n
done
mount -o remount,bind,ro /srv/m3
mount -o remount,bind,noexec /srv/m4
mount -t tmpfs t /srv/m5; echo tmpfs > /srv/m5/f; chown dev /srv/m5
cd {WORKSPACE}; mkdir .git inner closed; chown dev .git inner closed; echo own > .git/config
mount --bind /srv/d6 inner; mount --bind /srv/d7 closed; mount --bind /srv/d8 .git"""


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("mounts")) as [box]:
        box.activate(POLICIES)
        box.change(SCENE)
        yield box


@pytest.fixture(params=["inner", "bwrap"])
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return ("--workspace", WORKSPACE, "--mounts", request.param)


def test_every_mount_is_there_and_as_writable_as_the_policy_says(
    box: Provisioned, options: tuple[str, ...]
) -> None:
    script = f"""
        cat $(for n in $(seq 6 {COUNT}); do echo /srv/m$n/f; done) | sort -nu | wc -l
        cat /srv/m[1345]/f inner/f .git/f
        for d in /srv/m* inner closed .git; do touch $d/by-$$ 2>/dev/null && echo wrote $d; done
        cp /bin/true /srv/m1/t; /srv/m1/t && echo ran; /srv/m4/f; cat /srv/m2/f closed/f; umount inner closed
        rm -f /srv/m1/t /srv/m1/by-* inner/by-*"""
    done = box.sh(script, options=options)
    # The first number: all from m6 on but m7, which shows what is closed in the workspace.
    assert done.stdout.split("\n") == [
        *(str(COUNT - 6), "1", "3", "4", "tmpfs", "6", "8"),
        *("wrote /srv/m1", "wrote inner", "ran", ""),
    ], done


def test_a_mount_that_the_host_makes_later_does_not_arrive(box: Provisioned) -> None:
    options = ("--workspace", WORKSPACE, "--mounts", "inner")  # bwrap by itself lets it in: a known limit
    words = " ".join(box.command("sh", "-c", '"$script"', options=options))
    workload = (
        "touch ready; until [ -e go ]; do sleep 0.02; done; cat /srv/m9/f inner/f; echo x > inner/late-file"
    )
    started = f"script='{workload}'; cd {WORKSPACE}; ({words}) > /tmp/said 2>&1 & :"
    box.run("sh", "-c", started)
    deadline = time.monotonic() + 20
    while box.run("ls", f"{WORKSPACE}/ready").returncode and time.monotonic() < deadline:
        time.sleep(0.05)
    box.change(f"mount --bind /srv/d10 /srv/m9; mount --bind /srv/d11 {WORKSPACE}/inner")
    try:
        box.run("touch", f"{WORKSPACE}/go")
        while not (said := box.run("cat", "/tmp/said").stdout) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        box.change(
            f"umount /srv/m9 {WORKSPACE}/inner; rm -f {WORKSPACE}/go {WORKSPACE}/ready /srv/d*/late-file"
        )
    assert said.split()[:2] == ["9", "6"], said
