"""A push that succeeds, and what surrounds it: check, diff, rollback, doctor, ^C."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.push.conftest import REPO, Fleet, Inventory
from tests.support.hosts.fixtures import MakeHost

pytestmark = pytest.mark.host

BASE = str(REPO / "policies/base.yml")
OFFLINE = str(REPO / "policies/offline.yml")
BOTH = ("-l", "small,plain")


def _generation(fleet: Fleet, host: str) -> int:
    _, hosts = fleet.ask("push-policy", BASE, "--check", "-l", host)
    return int(hosts[host]["generation"])


def test_a_check_says_what_would_change_and_changes_nothing(fleet: Fleet) -> None:
    before = fleet.current()
    code, hosts = fleet.ask("push-policy", OFFLINE, "--check", *BOTH)
    assert code == 0
    assert {host["outcome"] for host in hosts.values()} == {"would_activate"}
    assert fleet.current() == before


def test_a_diff_says_what_widens_and_when_it_applies(fleet: Fleet, tmp_path: Path) -> None:
    wider = tmp_path / "base.yml"
    wider.write_text(
        "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: base}\n"
        "extends: [base]\nnetwork: {mode: host}\n"
    )
    done = fleet.fleetbox("push-policy", str(wider), "--check", "--diff", *BOTH)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "plain, small:"
    assert "widens   next launch  network.mode: none → host" in done.stdout
    done = fleet.fleetbox("push-policy", str(wider), "--check", "--diff", "--json", *BOTH)
    [difference] = json.loads(done.stdout)["differences"]
    assert difference["hosts"] == ["plain", "small"]
    assert ("network.mode", "widens") in [
        (change["field"], change["effect"]) for change in difference["policies"][0]["changes"]
    ]


def test_a_push_activates_runs_the_checks_and_reports_them(fleet: Fleet, tmp_path: Path) -> None:
    before = _generation(fleet, "plain")
    junit = tmp_path / "results.xml"
    done = fleet.fleetbox("push-policy", OFFLINE, BASE, "-y", "--json", "--report", f"junit:{junit}", *BOTH)
    answer = json.loads(done.stdout)
    assert done.returncode == answer["exit_code"]
    assert answer["signed"] is True
    assert ", signed" in done.stderr
    assert [(host["outcome"], host["generation"] > before) for host in answer["hosts"]] == [
        ("activated", True),
        ("activated", True),
    ]
    for host in answer["conformance"]["hosts"]:
        assert host["state"] == "answered"
        statuses = {result["check_id"]: result["status"] for result in host["results"]}
        assert statuses["FBX-SBX-001"] == statuses["FBX-POL-001"] == "pass"
        assert "fail" not in statuses.values()
    assert "FBX-FS-001" in junit.read_text()
    manifest = fleet.plain.exec(["cat", "/var/lib/fleetbox/current/manifest.json"]).stdout
    assert json.loads(manifest)["default_policy"] == "offline"


def test_pushing_what_is_there_makes_no_new_generation(fleet: Fleet) -> None:
    before = _generation(fleet, "plain")
    code, hosts = fleet.push(OFFLINE, BASE, "--no-verify", *BOTH)
    assert code == 0
    assert {host["outcome"] for host in hosts.values()} == {"unchanged"}
    assert _generation(fleet, "plain") == before


def test_a_rollback_is_a_higher_generation_with_older_content(fleet: Fleet) -> None:
    before, target = _generation(fleet, "plain"), fleet.current()[1]
    code, hosts = fleet.ask("rollback", "-y", "-l", "plain")
    assert code == 0
    first = hosts["plain"]["generation"]
    assert first > before
    assert fleet.current()[1] != target
    code, hosts = fleet.ask("rollback", "-y", "-l", "plain", "--to", str(before))
    assert (code, hosts["plain"]["generation"] > first) == (0, True)
    assert fleet.current()[1] == target


def test_a_rollback_to_nowhere_fails_and_changes_nothing(fleet: Fleet) -> None:
    before = fleet.current()
    code, hosts = fleet.ask("rollback", "-y", "-l", "plain", "--to", "999999")
    assert code == 5
    assert "999999" in hosts["plain"]["message"]
    assert fleet.current() == before


def test_a_full_access_policy_needs_its_own_flag(fleet: Fleet, tmp_path: Path) -> None:
    policy = tmp_path / "open.yml"
    policy.write_text(
        "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: open}\nmode: full-access\n"
    )
    done = fleet.fleetbox("push-policy", str(policy), "-y", *BOTH)
    assert done.returncode == 2
    assert "--allow-full-access" in done.stderr


def test_an_interruption_finishes_what_runs_begins_nothing_and_ends_with_130(fleet: Fleet) -> None:
    def hurry(content: Inventory) -> None:
        content["all"]["hosts"]["plain"]["ansible_ssh_extra_args"] = "-o ConnectTimeout=6"

    inventory = fleet.inventory(hurry)
    before = fleet.current()
    fleet.plain.link_down()
    try:
        command = [sys.executable, "-m", "fleetbox.cli", "push-policy", BASE, "-y", "--json", "--forks", "1"]
        with subprocess.Popen(
            fleet.lab.controller_argv([*command, "-i", inventory, *BOTH]),
            env=fleet.lab.controller_env() | {"FLEETBOX_STATE_DIR": str(fleet.folder / "state")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as push:
            assert push.stderr
            assert push.stderr.readline().startswith("push ")
            time.sleep(1)  # the first host is being tried, for the six seconds that its inventory allows
            push.send_signal(signal.SIGINT)
            out, err = push.communicate(timeout=60)
    finally:
        fleet.plain.link_up()
    assert push.returncode == 130, err
    ends = {host["host"]: host["outcome"] for host in json.loads(out)["hosts"]}
    assert ends == {"plain": "unreachable", "small": "not_started"}
    assert fleet.current() == before


def test_doctor_looks_at_one_host_and_says_so(fleet: Fleet) -> None:
    done = fleet.fleetbox("doctor", "all")
    assert done.returncode == 2
    assert "this asks one" in done.stderr


def test_a_report_that_cannot_be_written_hides_nothing(fleet: Fleet, tmp_path: Path) -> None:
    done = fleet.fleetbox("push-policy", BASE, "-y", "-l", "plain", "--report", f"junit:{tmp_path}", "--json")
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
    assert json.loads(done.stdout)["hosts"][0]["generation"]


def test_doctor_sees_a_provisioned_host(fleet: Fleet) -> None:
    done = fleet.fleetbox("doctor", "plain")
    assert done.returncode == 0, done.stderr
    assert "this machine can sandbox" in done.stdout


def test_doctor_does_not_call_a_damaged_host_a_new_one(fleet: Fleet) -> None:
    fleet.plain.exec(["chmod", "0777", "/var/lib/fleetbox"])
    done = fleet.fleetbox("doctor", "plain")
    fleet.plain.exec(["chmod", "0755", "/var/lib/fleetbox"])
    assert done.returncode == 5
    assert "state directory is damaged" in done.stdout


def test_a_host_with_a_gate_is_refused_with_its_remedy_and_left_untouched(
    fleet: Fleet, make_host: MakeHost
) -> None:
    old = make_host(hooks=["wsl1"], userns="EINVAL")
    code, hosts = fleet.push(BASE, "-l", f"plain,{old.name}", "--no-verify")
    assert code == 5
    refused = hosts[old.name]
    assert (refused["outcome"], refused["reason"]) == ("refused", "wsl1")
    assert "wsl --set-version" in refused["hint"]
    assert hosts["plain"]["outcome"] in ("activated", "unchanged")
    done = fleet.fleetbox("doctor", old.name)
    assert done.returncode == 5
    assert "remedy: " in done.stdout
    assert fleet.fleetbox("verify", "-l", old.name, "--policy", BASE).returncode == 101
    assert old.overlay_diff() == []


def test_a_host_that_was_never_provisioned_is_told_how_to_be(fleet: Fleet, make_host: MakeHost) -> None:
    bare = make_host()
    code, hosts = fleet.push(BASE, "-l", bare.name)
    assert (code, hosts[bare.name]["reason"]) == (5, "not_provisioned"), hosts[bare.name]["message"]
    assert hosts[bare.name]["hint"] == f"ansible-playbook site.yml --limit {bare.name}"
