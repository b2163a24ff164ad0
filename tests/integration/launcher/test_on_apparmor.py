"""A host whose AppArmor treats sandboxes as Ubuntu's does: its copy of bwrap may nothing, its package little.

The denials are the kernel's own (user-mode Linux); only what decides them is a profile by path instead of
Ubuntu's mediation of user namespaces, which Debian's kernels do not have.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import paths
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import PACKAGED, WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

SCRIPT = """
cat ~/secret/f shown; touch .git/x ~/secret/x; mkdir .codex/x; echo made > made && cat made; rm made
grep -E '^(Cap|NoNewPrivs)' /proc/self/status | cut -f2 | sort -u"""
HELD = ["shown", "made", "0000000000000000", "1"]


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("apparmor", kind="uml", apparmor="ubuntu")) as [box]:
        box.activate({"main": "filesystem: {rules: [{path: ~/secret, access: none}]}\n"})
        box.change(
            f"install -d -o dev /home/dev/secret {WORKSPACE}/.git; echo hidden > /home/dev/secret/f;"
            f"echo shown > {WORKSPACE}/shown"
        )
        yield box


def command(box: Provisioned) -> str:
    return box.launch("true", options=("--workspace", WORKSPACE, "--dry-run")).stdout


def test_the_kernel_denies_what_the_profiles_say(box: Provisioned) -> None:
    assert b"unpriv_bwrap (enforce)" in box.host.get("/sys/kernel/security/apparmor/profiles")
    make = ["--unshare-user", "--ro-bind", "/", "/", "--cap-add", "CAP_SYS_ADMIN"]
    mount = ["unshare", "--mount", "true"]
    assert "No permissions to create new namespace" in box.run(paths.BWRAP, *make, "true").stderr
    assert box.run(PACKAGED, *make, "true").returncode == 0
    assert "Operation not permitted" in box.run(PACKAGED, *make, *mount).stderr
    assert b'profile="unpriv_bwrap"' in box.host.exec(["dmesg"]).stdout


def test_the_package_makes_the_sandbox_and_mounts_all_of_it(box: Provisioned) -> None:
    assert "--cap-add" in command(box), "not known yet, or the next claim is empty"
    for _ in range(2):
        done = box.sh(SCRIPT)
        assert done.stdout.split() == HELD, done
        assert f"{paths.BWRAP} could not make the sandbox; trying {PACKAGED}" in done.stderr
    box.change(f"mv {paths.BWRAP} {paths.BWRAP}.away")
    try:
        assert "--cap-add" not in command(box), "it is remembered that the inner stage may not"
        forced = box.launch("touch", "ran", options=("--workspace", WORKSPACE, "--mounts", "inner"))
        assert forced.returncode == 125
        assert f"{PACKAGED} leaves the inner stage no privilege to mount" in forced.stderr
    finally:
        box.change(f"mv {paths.BWRAP}.away {paths.BWRAP}")
    assert box.run("ls", "-A", WORKSPACE).stdout.split() == [".git", "shown"]


def facts(box: Provisioned) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(box.run(paths.HOST_PROGRAM, "facts").stdout)
    return found


def test_what_the_package_costs_is_said(box: Provisioned) -> None:
    found = facts(box)
    assert (found["gates"], found["bwrap"]["path"]) == ([], PACKAGED)
    assert [cost["id"] for cost in found["costs"]] == ["inner_no_caps"]


def test_where_no_bwrap_may_make_one_nothing_runs_and_the_remedy_is_said(box: Provisioned) -> None:
    box.change(f"mv {PACKAGED} {PACKAGED}.away")
    try:
        done = box.launch("/bin/touch", f"{WORKSPACE}/ran")
        [gate] = facts(box)["gates"]
    finally:
        box.change(f"mv {PACKAGED}.away {PACKAGED}")
    assert done.returncode == 125
    assert "(apparmor_profile)" in done.stderr
    assert "unprivileged_userns (enforce)" in done.stderr
    assert "  hint: " in done.stderr
    assert gate["id"] == "apparmor_profile"
    assert gate["symptom"].startswith("unprivileged_userns (enforce); ")
    assert box.run("ls", "-A", WORKSPACE).stdout.split() == [".git", "shown"]


def test_a_profile_of_its_own_gives_the_provisioned_one_everything(box: Provisioned) -> None:
    """What role userns loads on Ubuntu; without mediation of user namespaces, taking the other's away."""
    box.change("echo -n unprivileged_userns > /sys/kernel/security/apparmor/.remove")
    done = box.sh(SCRIPT)
    assert (done.stdout.split(), "warning" in done.stderr) == (HELD, False), done
    assert "--cap-add" in command(box)
