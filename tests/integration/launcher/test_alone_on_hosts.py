"""Hosts without user namespaces: a policy that means the same there runs, every other one is refused."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.integration.launcher.test_alone import (
    ACCEPTED,
    EQUAL,
    MISSED,
    PYTHON,
    SCENE,
    WITH_HOST_PIDS,
    allowed,
)
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

PLAIN = HostSpec.of("plain")
WITHOUT = (
    HostSpec.of("eperm", userns="EPERM"),
    HostSpec.of("enospc", userns="ENOSPC"),
    HostSpec.of("docker", userns="EPERM", hooks=["masked-proc"]),  # as its default profile leaves it
)
POLICIES = {"reader": EQUAL, "writer": EQUAL.replace("mode: read-only\n", ""), "plain": ""}
WARNING = (
    "no bubblewrap here: the sandbox is Landlock and a filter alone, in which this policy means the same"
)
PLACE = "/usr/local/lib/alone_scene.py"
Hosts = dict[str, Provisioned]


@pytest.fixture(scope="module")
def hosts(lab: Lab, launcher: Path) -> Iterator[Hosts]:
    with provisioned(lab, launcher, PLAIN, *WITHOUT) as made:
        for box in made:
            box.activate(POLICIES)
        yield {box.host.name: box for box in made}


@pytest.fixture(params=[spec.name for spec in WITHOUT])
def box(hosts: Hosts, request: pytest.FixtureRequest) -> Provisioned:
    made: Provisioned = hosts[request.param]
    return made


def scene(box: Provisioned, *prefix: str) -> dict[str, str]:
    box.change(f"cd /home/dev; rm -rf beside denied token {WORKSPACE}; install -d -o dev -g dev {WORKSPACE}")
    box.host.put(PLACE, SCENE.read_bytes())
    done = box.run(PYTHON, PLACE, "around", "/home/dev", *prefix, PYTHON, PLACE, "inside")
    assert done.returncode == 0, done.stderr
    answers: dict[str, str] = json.loads(done.stdout)
    return answers


def test_every_attempt_of_a_workload_ends_as_in_bubblewrap_on_another_host(
    hosts: Hosts, box: Provisioned
) -> None:
    with_bwrap = scene(hosts["plain"], *hosts["plain"].command())
    without = scene(box, *box.command())
    assert allowed(without) - allowed(with_bwrap) == ACCEPTED | WITH_HOST_PIDS
    assert allowed(with_bwrap) - allowed(without) == MISSED
    outside = scene(box)
    assert {name for name in outside if outside[name] != "ok"} == set(), "or nothing was tried"


def test_it_says_that_bubblewrap_is_not_there(box: Provisioned) -> None:
    done = box.sh("cat /etc/hostname; touch x; exit 7")
    assert (done.returncode, done.stdout) == (7, f"{box.host.name}\n"), done
    assert f"fleetbox-run: warning: {WARNING}" in done.stderr.splitlines()
    assert box.run("test", "-e", f"{WORKSPACE}/x").returncode == 1


def test_with_bubblewrap_nothing_is_said_of_it(hosts: Hosts) -> None:
    done = hosts["plain"].sh("readlink /proc/self/ns/mnt; touch x")
    assert "Landlock" not in done.stderr
    assert done.stdout != hosts["plain"].run("readlink", "/proc/self/ns/mnt").stdout


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("writer", f"{WORKSPACE} could not be written as the policy says"),
        ("plain", "the host's mounts would be seen"),
    ],
)
def test_a_policy_that_means_more_is_refused_with_the_gate(
    box: Provisioned, policy: str, reason: str
) -> None:
    done = box.launch("touch", "ran", policy=policy)
    assert done.returncode == 125
    (said,) = [line for line in done.stderr.splitlines() if "Landlock alone would be less" in line]
    assert reason in said
    assert done.stderr.splitlines()[-2].startswith("fleetbox-run: cannot sandbox (")
    assert box.run("test", "-e", f"{WORKSPACE}/ran").returncode == 1


@pytest.mark.parametrize("who", ["inner", "bwrap"])
def test_whoever_asks_for_bubblewrap_gets_nothing_else(box: Provisioned, who: str) -> None:
    options = ("--workspace", WORKSPACE, "--mounts", who)
    done = box.launch("touch", "ran", options=options)
    assert done.returncode == 125
    assert WARNING not in done.stderr


def test_what_is_shown_is_what_would_be_done(box: Provisioned) -> None:
    options = ("--workspace", WORKSPACE)
    said = box.launch("true", options=(*options, "--explain")).stdout
    assert re.search(r"^alone +no bubblewrap and no namespace", said, re.MULTILINE)
    line = box.launch("sh", "-c", "touch x; exit 7", options=(*options, "--dry-run")).stdout
    assert " --places " in line
    done = box.run("sh", "-c", f"cd {WORKSPACE}; {line}")
    assert (done.returncode, "Permission denied" in done.stderr) == (7, True), done


def test_the_launchers_own_files_cannot_be_read(box: Provisioned) -> None:
    done = box.sh(f"ls {paths.CURRENT}/ {paths.STATE}; cat {paths.CURRENT}/linux/launch.plan")
    assert done.stdout == ""
    assert done.stderr.count("Permission denied") == 3


def test_why_names_the_sandbox_and_the_rule(box: Provisioned) -> None:
    box.change("DEBIAN_FRONTEND=noninteractive; apt-get -qq update; apt-get -qq install strace >/dev/null")
    words = [paths.HOST_PROGRAM, "why", "--workspace", WORKSPACE, "--"]
    script = "ls /; ipcmk -M 64; cat ~/token"
    box.change("install -o dev -m 600 /dev/null /home/dev/token")
    done = box.run(*words, "sh", "-c", script)
    assert "no directory above a closed place can be listed" in done.stdout, done
    assert "not there in a sandbox without bubblewrap" in done.stdout


def test_facts_say_that_landlock_could_stand_in(box: Provisioned) -> None:
    facts = json.loads(box.run(paths.HOST_PROGRAM, "facts").stdout)
    assert facts["userns"]["usable"] is False
    assert facts["kernel"]["landlock"] >= 6


def test_the_critical_checks_do_not_undo_an_activation(box: Provisioned) -> None:
    """FBX-SBX-001 and FBX-NS-002 know what the policy accepts; under another policy they fail."""
    request = {"checks": None, "user": None, "egress_peer": None, "policy": None}
    done = box.host.ssh([paths.HOST_PROGRAM, "probe"], data=json.dumps(request).encode())
    results = {result["check_id"]: result["status"] for result in json.loads(done.stdout)["results"]}
    assert "fail" not in results.values(), results
    assert "error" not in results.values(), results
    assert [results[check] for check in ("FBX-SBX-001", "FBX-FS-005", "FBX-NS-002")] == ["pass"] * 3
