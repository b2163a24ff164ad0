"""The launcher on a kernel as Debian 13 builds it: its Landlock, its AppArmor, its settings, and its root.

One emulated machine for all of it: what a test changes it puts back.
"""

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.conftest import REPO
from tests.integration.launcher.test_kernel_landlock import IOCTL, WRITES
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import PACKAGED, WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

POLICIES = {
    "main": "filesystem: {rules: [{path: ~/secret, access: none}]}\n",
    "off": "landlock: off\n",
    "strict": "landlock: required\n",
    "memory": "process: {limits: {memory: 64MiB}}\n",
    "pids": "process: {limits: {pids: 20}}\n",
}
OUTSIDE = "/home/dev/outside"


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("debian", kind="qemu", suite="trixie")) as [box]:
        box.activate(POLICIES)
        box.change(
            f"install -d -o dev {OUTSIDE} /home/dev/secret {WORKSPACE}/.git; echo hidden > /home/dev/secret/f"
        )
        yield box


ABI = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))"


def test_it_has_the_layers_that_user_mode_linux_lacks(box: Provisioned) -> None:
    assert int(box.run("python3", "-c", ABI).stdout) >= 6
    assert {b"landlock", b"yama", b"apparmor"} <= set(box.host.get("/sys/kernel/security/lsm").split(b","))
    mask = "/sys/kernel/security/apparmor/features/namespaces/mask"
    assert box.host.get(mask) == b"userns_create\n", "it mediates user namespaces"
    sysctl = ["test", "-e", "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"]
    assert box.host.exec(sysctl, check=False).returncode == 1, "or Ubuntu's restriction can be shown here"


def with_wrong_mounts(box: Provisioned, policy: str, script: str) -> list[str]:
    """What a launch says that has a root which can be written and holds devices: as wrong mounts would."""
    options = ("--workspace", WORKSPACE, "--mounts", "bwrap", "--dry-run")
    right = box.launch("sh", "-c", "SCRIPT", policy=policy, options=options).stdout
    assert (right.count(" --ro-bind / / "), right.count(" SCRIPT ")) == (1, 1), right
    wrong = right.replace(" --ro-bind / / ", " --dev-bind / / ")
    wrong = wrong.replace(" SCRIPT ", f" {shlex.quote(script)} ")
    return box.run("sh", "-c", f"cd {WORKSPACE} && {wrong}").stdout.splitlines()


@pytest.mark.parametrize("policy", ["off", "strict"])
def test_with_wrong_mounts_landlock_alone_refuses_every_write(box: Provisioned, policy: str) -> None:
    make = "mkdir $d $d/empty; echo kept > $d/file; chown -R dev $d"
    names = {name: f"{OUTSIDE}/{name.replace(' ', '-')}" for name in WRITES}
    box.change(
        f"rm -rf {OUTSIDE}/*; for d in {' '.join(names.values())}; do {make}; done; echo > {WORKSPACE}/mine"
    )
    tries = (f"(cd {names[name]} && {tried}) && echo {name}" for name, tried in WRITES.items())
    assert with_wrong_mounts(box, policy, "; ".join(tries)) == (list(WRITES) if policy == "off" else [])


def test_landlock_takes_the_ioctls_of_a_device_that_is_not_granted(box: Provisioned) -> None:
    box.change(f"mknod -m 666 {OUTSIDE}/node c 1 8")
    tried = f"python3 -c {shlex.quote(IOCTL)} {OUTSIDE}/node"
    assert with_wrong_mounts(box, "off", tried) == ["works", "works"]
    assert with_wrong_mounts(box, "strict", tried) == ["Permission denied"] * 2


@pytest.mark.parametrize(("policy", "left"), [("off", "evil\n"), ("strict", "first\n")])
def test_a_redirected_descriptor_cannot_be_opened_again(box: Provisioned, policy: str, left: str) -> None:
    launch = shlex.join(box.command("sh", "-c", "echo first; echo evil > /proc/self/fd/1", policy=policy))
    box.run("sh", "-c", f"{launch} > {OUTSIDE}/log")
    assert box.host.get(f"{OUTSIDE}/log").decode() == left


SCRIPT = """
cat ~/secret/f; touch .git/x ~/x; cat /proc/self/attr/current; unshare --user --map-root-user true
echo made > made && cat made; rm made; grep -E '^(Cap|NoNewPrivs)' /proc/self/status | cut -f2 | sort -u"""
HELD = ["made", "0000000000000000", "1"]
RESTRICT = "/usr/share/apparmor/extra-profiles/bwrap-userns-restrict"


@contextmanager
def loaded(box: Provisioned, profile: str) -> Iterator[None]:
    box.change(f"apparmor_parser --replace {profile}")
    try:
        yield
    finally:
        box.change(f"apparmor_parser --remove {profile}")


def test_under_the_profile_that_ubuntu_gives_bwrap_the_package_mounts_all_of_it(box: Provisioned) -> None:
    """Ubuntu 25.04 and later, and 24.04 by hand: apparmor's own file, the kernel's own mediation."""
    with loaded(box, RESTRICT):
        assert box.sh(SCRIPT).stdout.split() == ["unconfined", *HELD], "our copy has another path"
        box.change(f"mv {paths.BWRAP} {paths.BWRAP}.away")
        try:
            done = box.sh(SCRIPT)
            found = json.loads(box.run(paths.HOST_PROGRAM, "facts").stdout)
        finally:
            box.change(f"mv {paths.BWRAP}.away {paths.BWRAP}")
    assert done.stdout.split() == ["bwrap//&unpriv_bwrap", "(enforce)", *HELD], done
    assert (found["gates"], [cost["id"] for cost in found["costs"]]) == ([], ["inner_no_caps"])


def named(box: Provisioned) -> tuple[str, str]:
    """What the launcher and the host program call what is shut."""
    done = box.launch("touch", "ran")
    assert done.returncode == 125, done
    found = re.search(r"^fleetbox-run: cannot sandbox \((\w+)\): ", done.stderr, re.MULTILINE)
    [gate] = json.loads(box.run(paths.HOST_PROGRAM, "facts").stdout)["gates"]
    return (found[1] if found else done.stderr), gate["id"]


OWN = "/etc/apparmor.d/fleetbox-bwrap"
TEMPLATE = REPO / "roles/userns/templates/fleetbox-bwrap.j2"
MAKE = ("--unshare-user", "--ro-bind", "/", "/", "true")


def test_a_profile_without_the_rule_is_the_gate_and_ours_opens_it_for_one_program(box: Provisioned) -> None:
    """As Ubuntu's setting does to whatever has no profile; the role itself: test_userns_mediated.py."""
    refused = "bwrap: Creating new namespace failed: Permission denied\n"
    session = HostSpec.of("session", kind="qemu", apparmor="session").apparmor_profile
    box.host.put("/etc/apparmor.d/session", session.read_bytes())
    box.host.put(OWN, TEMPLATE.read_text().replace("{{ __userns_bwrap }}", paths.BWRAP).encode())
    with loaded(box, "/etc/apparmor.d/session"):
        assert named(box) == ("apparmor_profile", "apparmor_profile")
        with loaded(box, OWN):
            assert box.sh(SCRIPT).stdout.split() == ["session", "(enforce)", *HELD]
            assert box.run(PACKAGED, *MAKE).stderr == refused
        assert box.run(paths.BWRAP, *MAKE).stderr == refused


@pytest.mark.parametrize(
    ("setting", "gate"),
    [
        ("kernel/unprivileged_userns_clone", "userns_clone_sysctl"),
        ("user/max_user_namespaces", "userns_max_zero"),
        ("user/max_net_namespaces", "netns_max_zero"),
    ],
)
def test_a_setting_is_named_by_both(box: Provisioned, setting: str, gate: str) -> None:
    before = box.host.get(f"/proc/sys/{setting}").decode().strip()
    box.change(f"echo 0 > /proc/sys/{setting}")
    try:
        assert named(box) == (gate, gate)
    finally:
        box.change(f"echo {before} > /proc/sys/{setting}")


@contextmanager
def hidden(box: Provisioned) -> Iterator[None]:
    """Meanwhile nobody sees another's processes or traces anything that is not below him."""
    scope = "/proc/sys/kernel/yama/ptrace_scope"
    before = box.host.get(scope).decode().strip()
    box.change(f"mount -o remount,hidepid=invisible /proc; echo 2 > {scope}")
    try:
        yield
    finally:
        box.change(f"mount -o remount,hidepid=off /proc; echo {before} > {scope}")


def test_a_proc_that_hides_other_users_and_a_closed_ptrace_are_no_gates(box: Provisioned) -> None:
    with hidden(box):
        assert box.run("test", "-e", "/proc/1").returncode == 1, "or nothing is hidden"
        assert box.sh("ls -d /proc/1").stdout == "/proc/1\n", "a sandbox has its own"
        assert json.loads(box.run(paths.HOST_PROGRAM, "facts").stdout)["gates"] == []


GROUP = "/sys/fs/cgroup/dev"
ENTER = f'echo $$ > {GROUP}/leaf/cgroup.procs; exec "$@"'
DELEGATE = f"""
echo '+memory +pids' > /sys/fs/cgroup/cgroup.subtree_control
mkdir -p {GROUP}/leaf; chown dev {GROUP} {GROUP}/leaf; chown dev {GROUP}/*cgroup.* {GROUP}/leaf/cgroup.*
echo '+memory +pids' > {GROUP}/cgroup.subtree_control"""


def in_the_group(box: Provisioned, policy: str, script: str) -> tuple[str, str]:
    """Launched as dev out of a leaf of a cgroup that is dev's, as a user's session has it."""
    drop = ["setpriv", "--reuid=dev", "--regid=dev", "--init-groups", "--reset-env"]
    argv = ["sh", "-c", ENTER, "sh", *drop, *box.command("sh", "-c", script, policy=policy)]
    done = box.host.exec(argv, check=False)
    return done.stdout.decode(), done.stderr.decode()


FORK = "i=0; while [ $i -lt 60 ]; do sleep 9 & i=$((i+1)); done; echo all"


def test_limits_are_the_kernels_in_a_delegated_cgroup(box: Provisioned) -> None:
    box.change(DELEGATE)
    stay = "python3 -c 'b = bytearray(40 << 20); import time; time.sleep(5)'"
    said = in_the_group(box, "memory", f"({stay} & {stay} & wait) 2>&1")[1]
    assert "process.limits.memory was reached: the kernel ended" in said, said
    out, said = in_the_group(box, "pids", f"exec 2>&1; {FORK}")
    assert ("all\n" in out, "process.limits.pids was reached" in said) == (False, True), said
    assert "fleetbox-" not in box.change(f"ls {GROUP} {GROUP}/leaf")


@pytest.mark.emulated
def test_a_kernel_started_without_landlock_is_said_to_be(lab: Lab, launcher: Path) -> None:
    """Built with it, and left out of `lsm=`: another answer than that of a kernel without."""
    spec = HostSpec.of("bare", kind="qemu", suite="trixie", boot=["lsm=yama,apparmor"])
    with provisioned(lab, launcher, spec) as [box]:
        box.activate(POLICIES)
        refused = box.sh("echo ran", policy="strict")
        assert (refused.returncode, refused.stdout) == (125, "")
        assert "the policy has landlock: required" in refused.stderr
        assert "lsm=" in refused.stderr
        assert box.sh("echo ran").stdout == "ran\n"
