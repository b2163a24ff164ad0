"""Hosts that cannot make a sandbox, or say that they are WSL: each names its gate before anything runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.integration.launcher.gated import GATED
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

SPECS = (
    *GATED,
    HostSpec.of("docker", userns="EPERM", hooks=["masked-proc"]),  # as its default profile leaves it
    HostSpec.of("wsl2", hooks=["wsl2"], gpu="dxg"),
)
POLICIES = {
    "main": "environment: {pass: [PATH, HOME, WSL_INTEROP]}\n",
    "hostpids": "process: {allow_host_pids: true}\n",
    "hostpids-only": "process: {allow_host_pids: true}\nlandlock: off\n",
    "hostnet": "network: {mode: host}\n",
    "no-gpu": "gpu_passthrough: false\n",
    "required": "devices: {gpu: {mode: required}}\n",
    "required-nvidia": "devices: {gpu: {mode: required, vendors: [nvidia]}}\n",
}
Hosts = dict[str, Provisioned]


@pytest.fixture(scope="module")
def hosts(lab: Lab, launcher: Path) -> Iterator[Hosts]:
    with provisioned(lab, launcher, *SPECS) as made:
        for box in made:
            box.activate(POLICIES)
        yield {box.host.name: box for box in made}


@pytest.mark.parametrize(
    ("name", "problem", "hint"),
    [
        ("enospc", "user.max_user_namespaces is 0", "user.max_user_namespaces=15000"),
        ("eperm", "refuses to make namespaces: Operation not permitted", "allow clone, unshare, mount"),
        ("docker", "refuses to make namespaces: Operation not permitted", "allow clone, unshare, mount"),
        ("einval", "refuses to make namespaces: Invalid argument", "allow clone, unshare, mount"),
        ("wsl1", "this is WSL1, which has no user namespaces", "wsl --set-version <distro> 2"),
        ("masked", "parts of this one are masked", "--security-opt systempaths=unconfined"),
    ],
)
def test_a_gate_is_named_with_its_remedy_and_nothing_runs(
    hosts: Hosts, name: str, problem: str, hint: str
) -> None:
    box = hosts[name]
    done = box.launch("/bin/touch", "ran")
    assert done.returncode == 125, done
    *_, said, remedy = done.stderr.splitlines()
    assert said.startswith("fleetbox-run: ")
    assert problem in said
    assert remedy.startswith("  hint: ")
    assert hint in remedy
    assert box.run("ls", "-A", WORKSPACE).stdout == "", "neither a file nor a mountpoint is left"


WITHOUT_MOUNTS = (
    "the host's mounts would be seen",
    "/tmp and /var/tmp could not be private",
    f"{WORKSPACE} could not be written as the policy says",
    "the host's processes could be seen",
    "no loopback but the host's",
)


@pytest.mark.parametrize(
    ("policy", "left_out"),
    [("main", ()), ("hostnet", ("loopback",)), ("hostpids", ("processes could be seen",))],
)
def test_where_no_sandbox_can_be_made_everything_that_landlock_alone_would_leave_open_is_said(
    hosts: Hosts, policy: str, left_out: tuple[str, ...]
) -> None:
    done = hosts["eperm"].launch("/bin/touch", "ran", policy=policy)
    (said,) = [line for line in done.stderr.splitlines() if "Landlock alone" in line]
    assert done.returncode == 125
    for reason in WITHOUT_MOUNTS:
        assert (reason in said) is not any(word in reason for word in left_out), said


def test_landlock_that_is_switched_off_is_not_spoken_of(hosts: Hosts) -> None:
    done = hosts["eperm"].launch("/bin/touch", "ran", policy="hostpids-only")
    assert done.returncode == 125
    assert "Landlock" not in done.stderr


def test_wsl1_is_said_before_a_generation_is_looked_for(hosts: Hosts) -> None:
    box = hosts["wsl1"]
    box.change(f"mv {paths.CURRENT} {paths.CURRENT}.away")
    try:
        assert "this is WSL1" in box.launch("true").stderr
    finally:
        box.change(f"mv -T {paths.CURRENT}.away {paths.CURRENT}")


def test_a_masked_proc_is_no_obstacle_where_host_processes_are_accepted(hosts: Hosts) -> None:
    done = hosts["masked"].sh("id -u; test -r /proc/self/status && echo readable", policy="hostpids")
    assert (done.returncode, done.stdout) == (0, "1000\nreadable\n"), done.stderr


@pytest.mark.parametrize(("policy", "ended"), [("hostpids-only", True), ("hostpids", False)])
def test_with_landlock_a_host_process_that_is_seen_cannot_be_signalled(
    hosts: Hosts, policy: str, ended: bool
) -> None:
    """Neither can the inner stage, which has the workload's user, and without which nobody sees its end."""
    box = hosts["masked"]
    script = """
        sleep 60 & victim=$!
        fleetbox-run --workspace ws --policy "$0" -- sh -c "
            kill -0 $victim && echo seen; kill $victim && echo killed; kill -9 \\$PPID; sleep 0.3; exit 7"
        echo code=$?
        kill $victim 2>/dev/null && echo survived """
    done = box.run("env", f"PATH={Path(paths.LAUNCHER).parent}:/usr/bin:/bin", "sh", "-c", script, policy)
    said = done.stdout.split()
    assert ("killed" in said, "survived" in said) == (ended, not ended), done
    assert ("code=7" in said) is not ended, "the inner stage is killed, or tells how the workload ended"


@pytest.fixture
def wsl2(hosts: Hosts) -> Provisioned:
    box = hosts["wsl2"]
    box.change(
        """
        mkdir -p /run/WSL /mnt/wslg/distro /mnt/c/Windows /mnt/c/dev/ws /mnt/wsl
        for d in /run/WSL /mnt/wslg/distro /mnt/c/Windows /mnt/c /mnt; do echo x > $d/f; done
        chown dev /mnt/c/dev/ws"""
    )
    return box


WINDOWS = {"WSL_INTEROP": "/run/WSL/1_interop", "PATH": "/usr/bin:/mnt/c/Windows:/bin:/mnt/c/Tools"}


def test_the_windows_side_is_out_of_reach(wsl2: Provisioned) -> None:
    script = """
        cat /run/WSL/f /mnt/f /mnt/c/f /mnt/c/Windows/f /mnt/wslg/distro/f && echo read
        echo x > /mnt/c/dev/ws/f && echo wrote
        echo "[$WSL_INTEROP] $PATH" """
    done = wsl2.sh(script, env=WINDOWS)
    assert done.stdout == "[] /usr/bin:/bin\n"
    outside = wsl2.run("cat", "/run/WSL/f", "/mnt/f", "/mnt/c/f", "/mnt/c/Windows/f", "/mnt/wslg/distro/f")
    assert outside.stdout == "x\n" * 5, "or the claim above is empty"


def test_a_workspace_on_a_windows_drive_is_granted_and_nothing_beside_it(wsl2: Provisioned) -> None:
    script = "echo y > f && cat f; cat /mnt/c/f /mnt/c/Windows/f; ls /mnt/c /mnt/c/dev; rm f"
    done = wsl2.sh(script, options=("--workspace", "/mnt/c/dev/ws"))
    assert done.stdout == "y\n/mnt/c:\ndev\n\n/mnt/c/dev:\nws\n", done


def test_names_resolve_although_their_file_lies_below_mnt(wsl2: Provisioned) -> None:
    wsl2.change(
        "echo nameserver 10.1.1.1 > /mnt/wsl/resolv.conf; echo x > /mnt/wsl/f; cp -a /etc/resolv.conf /root/"
    )
    wsl2.change("ln -sf /mnt/wsl/resolv.conf /etc/resolv.conf")
    try:
        done = wsl2.sh("cat /etc/resolv.conf; cat /mnt/wsl/f", policy="hostnet")
    finally:
        wsl2.change("cp -af --remove-destination /root/resolv.conf /etc/resolv.conf")
    assert done.stdout == "nameserver 10.1.1.1\n", done


OPEN = """
import errno, os, sys
try: os.open(sys.argv[1], os.O_RDWR)
except OSError as problem: print(errno.errorcode[problem.errno])
"""


def test_the_wsl_gpu_is_one_working_node(wsl2: Provisioned) -> None:
    driverless = {"ENXIO\n", "ENODEV\n"}  # the node was opened as a device, and this kernel has no driver
    assert wsl2.launch("python3", "-c", OPEN, "/dev/dxg").stdout in driverless
    assert wsl2.launch("python3", "-c", OPEN, "/dev/dxg", policy="no-gpu").stdout == "ENOENT\n"


def test_a_wsl_gpu_is_no_nvidia_gpu(wsl2: Provisioned) -> None:
    done = wsl2.launch("touch", "ran", policy="required-nvidia")
    assert done.returncode == 125
    assert "no driver: this machine shows no GPU of a vendor that the policy allows" in done.stderr
    assert wsl2.run("ls", "-A", WORKSPACE).stdout == ""
