"""`process.limits` in a delegated cgroup, as a user's session has it: kernel and systemd of its own."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

POLICIES = {
    "strict": "landlock: required\n",
    "free": "filesystem: {tmp: private}\n",
    "memory": "process: {limits: {memory: 64MiB}}\n",
    "pids": "process: {limits: {pids: 20}}\n",
    "both": "process: {limits: {memory: 256MiB, pids: 100, wall: 1h}}\n",
    "nested": "process: {nested_sandboxes: true, limits: {memory: 64MiB}}\n",
}
SLICE = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice"
WAIT = f"until test -e {WORKSPACE}"
SCOPE = ("env", "XDG_RUNTIME_DIR=/run/user/1000", "systemd-run", "--user", "--scope", "--quiet", "--")


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("delegated", kind="uml-systemd")) as (made,):
        made.activate(POLICIES)
        made.change(
            "loginctl enable-linger dev; until test -S /run/user/1000/systemd/private; do sleep 0.2; done"
        )
        yield made


def launch(
    box: Provisioned, policy: str, script: str, *, options: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[bytes]":
    command = [
        paths.LAUNCHER,
        "--workspace",
        WORKSPACE,
        "--policy",
        policy,
        *options,
        "--",
        "sh",
        "-c",
        script,
    ]
    return box.host.ssh([*SCOPE, *command], check=False)


def left(box: Provisioned) -> list[str]:
    return [name for name in box.change(f"ls {SLICE}").split() if name.startswith("fleetbox-")]


def test_all_processes_together_get_no_more_memory_than_the_policy_says(box: Provisioned) -> None:
    """Each takes less than the limit, so that only a cgroup can tell."""
    stay = "python3 -c 'b = bytearray(40 << 20); import time; time.sleep(3)'"
    script = f"{stay} & {stay} & wait"
    done = launch(box, "memory", f"({script}) 2>&1")
    assert b"process.limits.memory was reached: the kernel ended" in done.stderr, done
    assert b"holds for each process" not in done.stderr
    assert b"was reached" not in launch(box, "free", f"({script}) 2>&1").stderr
    assert left(box) == []


FORK = """
import os, time
made = 0
try:
    while made < 60:
        if os.fork() == 0: time.sleep(60); os._exit(0)
        made += 1
except BlockingIOError: pass
print(made, flush=True)
"""


def test_no_more_processes_than_the_policy_says_and_none_is_left(box: Provisioned) -> None:
    done = launch(box, "pids", f"exec python3 -c '{FORK}'")
    assert done.stdout == b"19\n", done
    assert b"process.limits.pids was reached" in done.stderr
    assert left(box) == []


RAISE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x10000000 | 0x20000 | 0x2000000) == 0
os.mkdir("/tmp/own")
assert libc.mount(b"none", b"/tmp/own", b"cgroup2", 0, None) == 0
def raise_it():
    try:
        with open("/tmp/own/memory.max", "w") as file: file.write("max")
        return "raised"
    except OSError: return "not raised"
print(raise_it(), flush=True)
deep = "/tmp/own"
try:
    for _ in range(20):
        deep += "/deeper"; os.mkdir(deep)
except OSError: pass
print(deep.count("deeper") > 1, flush=True)
held = bytearray(100 << 20)
print("held")
"""


def test_a_nested_sandbox_cannot_raise_what_its_cgroup_may_have(box: Provisioned) -> None:
    """It may mount the cgroup that it is in, and owns the files there; this host has no nsdelegate."""
    box.host.put(f"{WORKSPACE}/raise.py", RAISE.encode())
    done = launch(box, "nested", f"python3 {WORKSPACE}/raise.py")
    assert done.stdout == b"not raised\nTrue\n", done
    assert b"process.limits.memory was reached" in done.stderr
    assert left(box) == []


def test_the_workload_and_its_end_are_as_without_limits(box: Provisioned) -> None:
    done = launch(box, "both", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert left(box) == []


def test_explain_names_the_cgroup(box: Provisioned) -> None:
    said = launch(box, "both", "true", options=("--explain",)).stdout.decode()
    assert f"limit     bytes of memory 268435456  ({SLICE})" in said
    assert f"limit     processes and threads 100  ({SLICE})" in said
    assert left(box) == []


def test_a_killed_launchers_cgroup_goes_with_the_next_launch(box: Provisioned) -> None:
    begin = f"{' '.join(SCOPE)} {paths.LAUNCHER} --workspace {WORKSPACE} --policy pids -- sh -c"
    script = f"{begin} 'touch begun; exec sleep 60' & {WAIT}/begun; do sleep 0.1; done"
    box.host.ssh(
        ["sh", "-c", f"{script}; pkill -KILL -x fleetbox-run; wait; rm {WORKSPACE}/begun"], check=False
    )
    assert len(left(box)) == 1, "or nothing is shown"
    assert launch(box, "pids", "exit 0").returncode == 0
    assert left(box) == []


def test_a_running_launchers_cgroup_is_not_taken_for_a_stale_one(box: Provisioned) -> None:
    command = f"{' '.join(SCOPE)} {paths.LAUNCHER} --workspace {WORKSPACE} --policy pids --"
    script = f"""
        {command} sh -c 'touch one; until test -e two; do sleep 0.1; done' & {WAIT}/one; do sleep 0.1; done
        {command} true; echo $?; cd {WORKSPACE}; touch two; wait $!; echo $?; rm one two"""
    assert box.host.ssh(["sh", "-c", script], check=False).stdout == b"0\n0\n"
    assert left(box) == []


def test_a_kernel_that_has_no_landlock_is_refused_where_it_is_required(box: Provisioned) -> None:
    """And only there: every other launch on this host goes on without."""
    done = box.sh("echo ran", policy="strict")
    assert (done.returncode, done.stdout) == (125, "")
    assert "the policy has landlock: required: this kernel has no Landlock" in done.stderr
    assert box.sh("echo ran", policy="free").stdout == "ran\n"


def test_without_a_delegated_cgroup_the_weaker_way_is_said(box: Provisioned) -> None:
    done = box.sh("echo ran", policy="both")
    assert done.stdout == "ran\n"
    assert "process.limits.memory holds for each process" in done.stderr


def test_a_service_whose_name_begins_like_a_launchers_cgroup_lives_on(box: Provisioned) -> None:
    unit = (
        "env",
        "XDG_RUNTIME_DIR=/run/user/1000",
        "systemd-run",
        "--user",
        "--quiet",
        "--unit=fleetbox-agent",
    )
    try:
        box.host.ssh([*unit, "sleep", "60"])
        assert left(box) == ["fleetbox-agent.service"], "or nothing is shown"
        assert launch(box, "pids", "exit 0").returncode == 0
        assert left(box) == ["fleetbox-agent.service"]
    finally:
        box.host.ssh([*unit[:2], "systemctl", "--user", "stop", "fleetbox-agent"], check=False)
