"""A fleet whose hosts have trust anchors: they take what is signed and assigned to them, and nothing else."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import paths
from fleetbox.trust import Trust
from tests.integration.push.conftest import REPO, Fleet

pytestmark = pytest.mark.host

BASE = str(REPO / "policies/base.yml")
OFFLINE = str(REPO / "policies/offline.yml")
ONE = ("-l", "plain", "--no-verify")


def status(fleet: Fleet) -> dict[str, Any]:
    return dict(json.loads(fleet.plain.exec([paths.HOST_PROGRAM, "status"]).stdout))


def host_says(fleet: Fleet, *argv: str, data: bytes = b"") -> tuple[int, str]:
    """A verb on the host itself: its exit code, and the code of its refusal."""
    done = fleet.plain.exec([paths.HOST_PROGRAM, *argv], data=data, check=False)
    return done.returncode, json.loads(done.stdout).get("error", {}).get("code", "")


def test_a_signed_push_is_verified_by_the_host_and_says_so(fleet: Fleet) -> None:
    done = fleet.fleetbox("push-policy", OFFLINE, "-y", "--json", *ONE)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["signed"]) == (0, True), done.stderr
    assert ", signed" in done.stderr
    assert "release policies/default/2.tar, assigned to 1 host(s)" in done.stderr
    assert status(fleet)["default_policy"] == "offline"
    trust = status(fleet)["trust"]
    assert (trust["floor"]["generation"], trust["stale"]) == (2, False)


def test_the_same_policy_again_is_no_new_release_and_no_new_generation(fleet: Fleet) -> None:
    before = status(fleet)
    code, hosts = fleet.push(OFFLINE, *ONE)
    assert (code, hosts["plain"]["outcome"]) == (0, "unchanged")
    assert status(fleet)["generation"] == before["generation"]
    assert len(Trust(fleet.folder / "state").published().releases()) == 2


def test_a_rollback_is_a_higher_generation_of_an_older_release(fleet: Fleet) -> None:
    code, hosts = fleet.push(BASE, *ONE)
    assert code == 0, hosts
    before = status(fleet)
    code, hosts = fleet.ask("rollback", "-y", "-l", "plain")
    assert code == 0, hosts
    after = status(fleet)
    assert after["default_policy"] == "offline"
    assert after["generation"] > before["generation"]
    assert after["trust"]["floor"]["generation"] > before["trust"]["floor"]["generation"]


def test_nothing_unsigned_is_taken_whoever_asks(fleet: Fleet, tmp_path: Path) -> None:
    before = fleet.current()
    plain = {"FLEETBOX_STATE_DIR": str(tmp_path / "another")}
    code, hosts = fleet.push(BASE, "--allow-unsigned", *ONE, **plain)
    assert (code, hosts["plain"]["reason"]) == (6, "unsigned")
    code, hosts = fleet.ask("rollback", "--allow-unsigned", "-y", "-l", "plain", **plain)
    assert (code, hosts["plain"]["reason"]) == (6, "unsigned")
    digest = status(fleet)["generations"][0]["digest"]
    assert host_says(fleet, "activate", digest, "--no-smoke") == (6, "unsigned")
    assert host_says(fleet, "rollback", "--no-smoke") == (6, "unsigned")
    assert fleet.current() == before


def test_a_control_machine_without_trust_asks_nobody_unless_that_is_meant(
    fleet: Fleet, tmp_path: Path
) -> None:
    for command in (
        ["push-policy", BASE, "-y", *ONE],
        ["push-policy", BASE, "--check", "-l", "plain"],
        ["rollback", "-y"],
    ):
        fleet.plain.link_down()
        try:
            done = fleet.fleetbox(*command, FLEETBOX_STATE_DIR=str(tmp_path / "another"))
        finally:
            fleet.plain.link_up()
        assert done.returncode == 2, done.stderr
        assert "would not be signed: no trust was set up" in done.stderr
        assert "hint: fleetbox init, then site.yml" in done.stderr
        assert "--allow-unsigned" in done.stderr


def test_where_trust_is_set_up_nothing_is_pushed_unsigned(fleet: Fleet) -> None:
    done = fleet.fleetbox("push-policy", BASE, "-y", "--allow-unsigned", "--json", *ONE)
    assert (done.returncode, json.loads(done.stdout)["signed"]) == (0, True), done.stderr


def test_another_control_machines_keys_are_refused(fleet: Fleet, tmp_path: Path) -> None:
    before = fleet.current()
    other = {"FLEETBOX_STATE_DIR": str(tmp_path / "thief")}
    assert fleet.fleetbox("init", **other).returncode == 0
    code, hosts = fleet.push(BASE, *ONE, **other)
    assert code == 6, hosts
    assert hosts["plain"]["outcome"] == "trust_refused"
    assert fleet.current() == before


def test_a_control_machine_restored_from_a_backup_goes_on_above_what_hosts_have_seen(
    fleet: Fleet, tmp_path: Path
) -> None:
    trust, backup = fleet.folder / "state" / "trust", tmp_path / "backup"
    shutil.copytree(trust, backup)
    assert fleet.push(BASE, *ONE)[0] == 0
    assert fleet.push(OFFLINE, *ONE)[0] == 0
    before = status(fleet)["trust"]["floor"]["generation"]
    shutil.rmtree(trust)
    backup.rename(trust)
    code, hosts = fleet.push(BASE, *ONE)
    # Its metadata is older than what the host has seen: that is an attack for all that the host can know.
    assert (code, hosts["plain"]["reason"]) == (6, "rolled_back_metadata"), hosts
    assert "fleetbox trust catch-up" in hosts["plain"]["hint"]
    assert status(fleet)["trust"]["floor"]["generation"] == before
    done = fleet.fleetbox("trust", "catch-up", "-y")
    assert done.returncode == 0, done.stderr
    code, hosts = fleet.push(BASE, *ONE)
    assert (code, hosts["plain"]["outcome"]) == (0, "activated"), hosts
    assert status(fleet)["trust"]["floor"]["generation"] > before


def test_a_release_below_the_floor_is_neither_assigned_nor_gone_back_to(fleet: Fleet, tmp_path: Path) -> None:
    wider = tmp_path / "base.yml"
    wider.write_text(
        "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: base}\n"
        "extends: [base]\nenvironment: {pass: [EDITOR]}\n"
    )
    assert fleet.push(str(wider), *ONE)[0] == 0
    newest = max(name.number for name in Trust(fleet.folder / "state").published().releases())
    done = fleet.fleetbox("trust", "min-release", str(newest), "-y")
    assert done.returncode == 0, done.stderr
    before = fleet.current()
    code, hosts = fleet.ask("rollback", "-y", "-l", "plain")
    assert code != 0, hosts
    assert fleet.current() == before


def test_a_push_leads_out_of_the_baseline_of_signatures_that_ran_out(fleet: Fleet) -> None:
    """The very same policy, whose generation the host has had before: `fleetbox trust refresh` is enough."""
    assert fleet.push(OFFLINE, *ONE)[0] == 0
    config = fleet.plain.get(paths.HOST_CONFIG)
    fleet.plain.put(paths.HOST_CONFIG, json.dumps({**json.loads(config), "max_stale_days": 1}).encode())
    try:
        for days in (30, 1):
            host_says(fleet, "stale")
            looks = json.loads(fleet.plain.get(paths.LOOKS))
            fleet.plain.put(paths.LOOKS, json.dumps({**looks, "ran": looks["ran"] + days * 86400.0}).encode())
        host_says(fleet, "stale")
        said = status(fleet)
        assert (said["baseline"], said["last_reversal"]["reason"]) == (True, "stale")
        assert said["trust"]["by_clock"] is False
        code, hosts = fleet.ask("push-policy", OFFLINE, "--check", *ONE)
        assert hosts["plain"]["outcome"] == "would_activate"
        assert fleet.fleetbox("trust", "refresh").returncode == 0
        code, hosts = fleet.push(OFFLINE, *ONE)
        assert (code, hosts["plain"]["outcome"]) == (0, "activated"), hosts
        said = status(fleet)
        assert (said["default_policy"], said["trust"]["stale"]) == ("offline", False)
        assert host_says(fleet, "stale") == (0, "")
        assert status(fleet)["default_policy"] == "offline"
    finally:
        fleet.plain.put(paths.HOST_CONFIG, config)


def test_a_host_without_anchors_refuses_what_it_cannot_verify(fleet: Fleet) -> None:
    fleet.small.exec(["mv", paths.ANCHORS, f"{paths.ANCHORS}.away"])
    try:
        code, hosts = fleet.push(BASE, "-l", "small", "--no-verify")
    finally:
        fleet.small.exec(["mv", f"{paths.ANCHORS}.away", paths.ANCHORS])
    assert (code, hosts["small"]["reason"]) == (6, "no_anchor")
    assert "role" in hosts["small"]["hint"]


def test_a_teams_release_waits_for_the_teams_keys(fleet: Fleet, tmp_path: Path) -> None:
    before = fleet.current()
    key = tmp_path / "research.pem"
    assert fleet.fleetbox("trust", "new-key", str(key), "--no-passphrase").returncode == 0
    done = fleet.fleetbox("push-policy", BASE, "-y", "--team", "research", *ONE)
    assert (done.returncode, "no team 'research'" in done.stderr) == (2, True), done.stderr
    assert fleet.fleetbox("trust", "delegate", "research", "--key", f"{key}.pub", "-y").returncode == 0
    waiting = fleet.fleetbox("push-policy", BASE, "-y", "--team", "research", *ONE)
    assert (waiting.returncode, "waits for signatures" in waiting.stderr) == (6, True), waiting.stderr
    assert fleet.current() == before, "nobody was contacted"
