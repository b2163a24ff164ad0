"""The audit trail of pushes: what is listed, and a host whose own trail was changed behind our back."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import paths
from tests.integration.push.conftest import REPO, Fleet
from tests.support.hosts.host import Host

pytestmark = pytest.mark.host

BASE = str(REPO / "policies/base.yml")
OFFLINE = str(REPO / "policies/offline.yml")
BOTH = ("-l", "small,plain")
FILE = f"{paths.AUDIT}/0000000000000001.jsonl"
RECORD = (
    f"import sys; sys.path.insert(0, {paths.PREFIX!r})\n"
    "from fleetbox.hostside import audit\nfrom fleetbox.hostside.paths import Places\n"
    "for n in range(3): audit.record(Places(), 'happened', n=n)\n"
)


def happened(host: Host) -> None:
    """Three more records in the host's own trail."""
    host.exec([paths.PYTHON, "-I", "-S", "-c", RECORD])


def listed(fleet: Fleet, *argv: str) -> dict[str, Any]:
    done = fleet.fleetbox("audit", "list", "--json", *argv)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def verified(fleet: Fleet, *argv: str) -> tuple[int, dict[str, Any]]:
    done = fleet.fleetbox("audit", "verify", "--json", *argv)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def untouched(fleet: Fleet) -> Iterator[Fleet]:
    """A fleet whose hosts have fresh trails, of which nothing is known."""
    for host in (fleet.small, fleet.plain):
        host.exec(["rm", "-rf", paths.AUDIT])
        fleet.fleetbox("audit", "accept", host.name, "--reason", "a fresh trail for a test")
        happened(host)
    yield fleet
    fleet.fleetbox("audit", "accept", "plain", "--reason", "the end of a test")


def test_a_push_is_listed_with_who_what_and_every_answer(fleet: Fleet) -> None:
    code, hosts = fleet.push(OFFLINE, BASE, "--no-verify", *BOTH)
    assert code == 0
    assert listed(fleet, "--event", "push_begun", "-n", "1")["records"][0]["waived"] == ["--no-verify"]
    answer = listed(fleet, "--event", "push", "-n", "4")
    begun, *answers, ended = answer["records"]
    assert begun["event"] == "push_begun"
    assert begun["hosts"] == ["plain", "small"]
    assert [policy["name"] for policy in begun["policies"]] == ["offline", "base"]
    assert begun["selection"] == "small,plain"
    assert begun["by"]
    assert {one["host"]: one["generation"] for one in answers} == {
        name: host["generation"] for name, host in hosts.items()
    }
    assert {one["digest"] for one in answers} == {begun["bundle"]}
    assert {one["begun"] for one in (*answers, ended)} == {begun["seq"]}
    assert ended["exit_code"] == 0
    assert answer["not_ended"] == []
    words = fleet.fleetbox("audit", "list", "--host", "plain", "-n", "3")
    assert "push begun" in words.stdout
    assert "offline, base" in words.stdout
    assert fleet.fleetbox("audit", "verify").returncode == 0


def test_a_rollback_and_a_host_that_is_down_are_listed(fleet: Fleet) -> None:
    fleet.plain.link_down()
    try:
        code, _ = fleet.ask("rollback", "-y", "-l", "plain")
        assert fleet.fleetbox("audit", "verify", "-l", "plain").returncode == 4
    finally:
        fleet.plain.link_up()
    assert code == 4
    [answered] = listed(fleet, "--event", "rollback_answered", "--host", "plain", "-n", "1")["records"]
    assert answered["outcome"] == "unreachable"


def test_a_check_is_no_change_and_not_listed(fleet: Fleet) -> None:
    before = listed(fleet)["records"][-1]
    fleet.fleetbox("push-policy", BASE, "--check", *BOTH)
    assert listed(fleet)["records"][-1] == before


def test_a_push_that_was_killed_has_begun_and_not_ended(fleet: Fleet) -> None:
    fleet.plain.link_down()
    try:
        command = [sys.executable, "-m", "fleetbox.cli", "push-policy", BASE, "-y", "-l", "plain"]
        with subprocess.Popen(
            fleet.lab.controller_argv([*command, "-i", str(fleet.lab.inventory)]),
            env=fleet.lab.controller_env() | {"FLEETBOX_STATE_DIR": str(fleet.folder / "state")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as push:
            while push.poll() is None:
                answer = listed(fleet, "--event", "push_begun", "-n", "1")
                if answer["not_ended"]:
                    push.send_signal(signal.SIGKILL)
                    break
    finally:
        fleet.plain.link_up()
    assert listed(fleet, "--event", "push_begun", "-n", "1")["not_ended"] == answer["not_ended"] != []
    words = fleet.fleetbox("audit", "list", "--event", "push_begun", "-n", "1").stdout
    assert "(not ended: it runs, or was killed)" in words
    assert fleet.fleetbox("audit", "verify").returncode == 0


def test_trails_of_hosts_are_whole_and_how_far_they_go_is_kept(untouched: Fleet) -> None:
    code, answer = verified(untouched, *BOTH)
    assert (code, [one["state"] for one in answer["hosts"]]) == (0, ["whole", "whole"])
    seen = listed(untouched, "--event", "host_trail_seen", "-n", "2")["records"]
    assert {one["host"] for one in seen} == {"small", "plain"}
    happened(untouched.plain)
    code, answer = verified(untouched, "-l", "plain")
    assert (code, answer["hosts"][0]["known"]) == (0, 1)


SPOILS = {
    "changed": f'sed -i \'s/"n":1/"n":8/\' {FILE}',
    "a record removed": f"sed -i 2d {FILE}",
    "cut at the end": f"sed -i '$d' {FILE}",
    "removed": f"rm -r {paths.AUDIT}",
    "written anew": f'rm -r {paths.AUDIT}; {paths.PYTHON} -I -S -c "{RECORD}{RECORD}"',
}


@pytest.mark.parametrize("how", SPOILS)
def test_a_host_whose_trail_was_tampered_with_is_found(untouched: Fleet, how: str) -> None:
    assert verified(untouched, *BOTH)[0] == 0
    untouched.plain.exec(["sh", "-c", SPOILS[how]])
    code, answer = verified(untouched, *BOTH)
    assert code == 6
    assert {one["host"]: one["state"] for one in answer["hosts"]} == {"plain": "tampered", "small": "whole"}
    done = untouched.fleetbox("audit", "verify", *BOTH)
    assert "plain  hint: if the host was set up anew" in done.stderr
    assert untouched.fleetbox("audit", "accept", "nobody", "--reason", "x").returncode == 2
    untouched.plain.exec(["rm", "-rf", paths.AUDIT])
    assert untouched.fleetbox("audit", "accept", "plain", "--reason", "set up anew").returncode == 0
    assert verified(untouched, *BOTH)[0] == 0


def test_the_trail_of_this_machine_is_held_against_a_head_that_was_kept_elsewhere(fleet: Fleet) -> None:
    head = verified(fleet)[1]["head"]
    fleet.push(BASE, "-l", "plain", "--no-verify")
    assert verified(fleet, "--expect", head)[0] == 0
    [file] = (Path(fleet.folder) / "state/audit").iterdir()
    whole = file.read_bytes()
    seq = int(head.partition(":")[0])
    file.write_bytes(b"".join(whole.splitlines(keepends=True)[: seq - 1]))
    try:
        assert verified(fleet)[0] == 0, "a cut at the end shows only to who knows what was there"
        assert verified(fleet, "--expect", head)[0] == 6
        file.write_bytes(whole.replace(b'"plain"', b'"small"', 1))
        code, answer = verified(fleet)
        assert (code, answer["problems"][0]["code"]) == (6, "changed")
    finally:
        file.write_bytes(whole)
