"""The installed launcher as a user types it, on three generations of Debian and of bubblewrap.

0.4.1 (Debian 11) knows neither --disable-userns nor --perms: what those give must hold there another way.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import PACKAGED, WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

BWRAPS = {"bullseye": "0.4.1", "bookworm": "0.8.0", "trixie": "0.12.0"}
POLICIES = {
    "main": "filesystem: {rules: [{path: ~/secret, access: none}]}\n",
    "review": "mode: read-only\n",
    "hostpids": "process: {allow_host_pids: true}\n",
    "nested": "process: {nested_sandboxes: true}\n",
}
Eventually = Callable[[Callable[[], bool]], None]


@pytest.fixture(scope="module", params=BWRAPS)
def box(request: pytest.FixtureRequest, lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    spec = HostSpec.of(f"box-{request.param}", suite=request.param)
    with provisioned(lab, launcher, spec) as [box]:
        assert BWRAPS[request.param] in box.run("bwrap", "--version").stdout
        box.activate(POLICIES)
        box.change("install -d -o dev /home/dev/secret; echo hidden > /home/dev/secret/f")
        yield box


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["/etc/passwd"], 126),
        (["no-such-program"], 127),
        (["sh", "-c", "kill -TERM $$"], 143),
    ],
)
def test_the_workloads_end_is_the_launchers(box: Provisioned, words: list[str], code: int) -> None:
    assert box.launch(*words).returncode == code


def test_a_terminated_launcher_ends_its_workload_with_143(box: Provisioned) -> None:
    script = f"""
        cd {WORKSPACE}
        {paths.LAUNCHER} -- sh -c 'touch ready; exec sleep 61' & pid=$!
        until [ -e ready ]; do sleep 0.02; done
        rm ready; kill -TERM $pid; wait $pid"""
    assert box.run("sh", "-c", script).returncode == 143
    assert not [line for line in box.host.processes() if "sleep 61" in line]


def test_the_sandbox_is_one_whatever_bubblewrap_it_is(box: Provisioned) -> None:
    done = box.sh(
        f"""
        echo x > made && cat made
        echo y > /home/dev/outside; echo y > /etc/made
        cat ~/secret/f
        ls {paths.STATE}/current/
        ls /proc | grep -c '^[0-9]'
        unshare -Ur true && echo nested
        mkdir .git && echo a repository
        touch /dev/shm/x /tmp/y && echo private
        grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status
        """
    )
    processes, *rest = done.stdout.split("\n")[1:]
    assert done.stdout.startswith("x\n"), done
    assert int(processes) < 6
    assert rest == ["private", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", ""]
    assert done.stderr.count("Read-only file system") == 2
    assert box.run("ls", "-A", WORKSPACE).stdout == "made\n"
    assert box.run("ls", "/home/dev/outside", "/etc/made").stdout == ""


def test_a_user_namespace_inside_works_only_where_the_policy_says_so(box: Provisioned) -> None:
    assert box.launch("unshare", "-Ur", "true", policy="main").returncode != 0
    assert box.launch("unshare", "-Ur", "true", policy="nested").returncode == 0


def test_the_other_policy_of_the_bundle_is_taken_by_name(box: Provisioned) -> None:
    script = "echo $FLEETBOX_SANDBOX; touch by-$FLEETBOX_SANDBOX 2>/dev/null && echo wrote; rm -f by-*"
    assert box.sh(script).stdout == "main\nwrote\n"
    assert box.sh(script, policy="main").stdout == "main\nwrote\n"
    assert box.sh(script, policy="review").stdout == "review\n"
    unknown = box.launch("touch", "ran", policy="absent")
    assert unknown.returncode == 125
    assert "cannot open the policy absent" in unknown.stderr
    assert box.run("ls", f"{WORKSPACE}/ran").returncode != 0


LEAVES_RUNNING = b"""
sleep 3601 &
(setsid sh -c 'sleep 3602 & exec sleep 3603' &)
exec sleep 3604
"""


@pytest.fixture(params=["main", "hostpids"])
def policy(request: pytest.FixtureRequest, box: Provisioned) -> Iterator[str]:
    """Once with a PID namespace, once without: only a masked /proc makes the launcher go without."""
    with box.masked_proc() if request.param == "hostpids" else nullcontext():
        yield request.param


def running(box: Provisioned, word: str) -> int:
    return sum(line.startswith(word) for line in box.host.processes())


def test_killing_the_launcher_ends_every_process_of_the_sandbox(
    box: Provisioned, policy: str, eventually: Eventually
) -> None:
    box.change(f"rm -rf {WORKSPACE}; install -d -o dev {WORKSPACE}")
    box.host.put("/home/dev/workload", LEAVES_RUNNING)
    launch = " ".join(box.command("sh", "/home/dev/workload", policy=policy))
    started = box.run("sh", "-c", f"{launch} >/dev/null 2>&1 </dev/null & echo $!")
    eventually(lambda: running(box, "sleep 360") == 4)
    assert box.run("kill", "-KILL", started.stdout.strip()).returncode == 0
    eventually(lambda: running(box, "sleep 360") == 0)
    eventually(lambda: running(box, "bwrap") == 0)
    assert ".git" in box.run("ls", "-A", WORKSPACE).stdout.split(), "no residue: the next claim says nothing"
    assert box.launch("true", policy=policy).returncode == 0
    assert box.run("ls", "-A", WORKSPACE).stdout == ""


def test_killing_bubblewrap_ends_the_launch_at_once_and_every_process(
    box: Provisioned, policy: str, eventually: Eventually
) -> None:
    box.host.put("/home/dev/workload", LEAVES_RUNNING)
    box.change("rm -f /home/dev/code; install -o dev /dev/null /home/dev/code")
    launch = " ".join(box.command("sh", "/home/dev/workload", policy=policy))
    box.run("sh", "-c", f"(({launch}) >/dev/null 2>&1 </dev/null; echo $? > code) >/dev/null 2>&1 &")
    eventually(lambda: running(box, "sleep 360") == 4)
    box.change("for f in $(grep -la '^bwrap' /proc/[0-9]*/cmdline); do kill -KILL $(basename ${f%/*}); done")
    begin = time.monotonic()
    eventually(lambda: running(box, "sleep 360") == 0)
    eventually(lambda: box.host.get("/home/dev/code") != b"")
    assert box.host.get("/home/dev/code") == b"137\n"
    assert time.monotonic() - begin < 4, "the launcher waited for what cannot come"


def test_the_provisioned_bwrap_is_preferred_to_the_one_on_path(box: Provisioned) -> None:
    box.change(f"mv {PACKAGED} {PACKAGED}.away")
    try:
        done = box.launch("echo", "ran")
    finally:
        box.change(f"mv {PACKAGED}.away {PACKAGED}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")


@pytest.mark.parametrize(
    "spoil",
    ["rm", "chown dev", "chmod g+w", "chmod a-x"],
)
def test_a_provisioned_bwrap_that_cannot_be_trusted_gives_way_with_a_warning(
    box: Provisioned, spoil: str
) -> None:
    try:
        # Whatever runs it would not print the word: then the one of the package did.
        box.change(f"printf '#!/bin/sh\\necho planted\\n' > {paths.BWRAP}; {spoil} {paths.BWRAP}")
        done = box.launch("echo", "ran")
    finally:
        box.change(f"rm -f {paths.BWRAP}; install -m 0755 {PACKAGED} {paths.BWRAP}")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert f"{paths.BWRAP} is missing or not root's; using {PACKAGED}" in done.stderr


def test_a_provisioned_bwrap_that_fails_gives_way_with_a_warning(box: Provisioned) -> None:
    try:
        box.change(
            f"printf '#!/bin/sh\\n[ \"$1\" != --help ] || exec {PACKAGED} --help\\nexit 1\\n' > {paths.BWRAP}"
        )
        done = box.launch("echo", "ran")
    finally:
        box.change(f"rm -f {paths.BWRAP}; install -m 0755 {PACKAGED} {paths.BWRAP}")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert f"{paths.BWRAP} could not make the sandbox; trying {PACKAGED}" in done.stderr


def test_without_any_bwrap_nothing_runs(box: Provisioned) -> None:
    box.change(f"mv {paths.BWRAP} {paths.BWRAP}.away; mv {PACKAGED} {PACKAGED}.away")
    try:
        done = box.launch("/bin/touch", "ran")
    finally:
        box.change(f"mv {paths.BWRAP}.away {paths.BWRAP}; mv {PACKAGED}.away {PACKAGED}")
    assert done.returncode == 125
    assert "there is no usable bwrap" in done.stderr
    assert "hint: install it: apt-get install bubblewrap" in done.stderr
    assert box.run("ls", f"{WORKSPACE}/ran").returncode != 0
