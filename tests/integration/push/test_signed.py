"""A fleet whose hosts have trust anchors: they take what is signed and assigned to them, and nothing else."""

import json
import shutil
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def signed(fleet: Fleet) -> Iterator[Fleet]:
    """`fleetbox init`, and the anchors on the host `plain` as the roles install them."""
    done = fleet.fleetbox("init")
    assert done.returncode == 0, done.stderr
    before = fleet.plain.get(paths.HOST_CONFIG)
    config = {**json.loads(before), "host_id": "plain"}
    fleet.plain.put(paths.HOST_CONFIG, json.dumps(config).encode())
    fleet.plain.exec(["install", "-d", "-m", "0755", paths.ANCHORS])
    for repository, data in Trust(fleet.folder / "state").published().anchor().items():
        fleet.plain.put(paths.anchor(repository), data)
    yield fleet
    fleet.plain.exec(["rm", "-r", paths.ANCHORS])
    fleet.plain.put(paths.HOST_CONFIG, before)


def status(fleet: Fleet) -> dict[str, Any]:
    return dict(json.loads(fleet.plain.exec([paths.HOST_PROGRAM, "status"]).stdout))


def host_says(fleet: Fleet, *argv: str, data: bytes = b"") -> tuple[int, str]:
    """A verb on the host itself: its exit code, and the code of its refusal."""
    done = fleet.plain.exec([paths.HOST_PROGRAM, *argv], data=data, check=False)
    return done.returncode, json.loads(done.stdout).get("error", {}).get("code", "")


def test_a_signed_push_is_verified_by_the_host_and_says_so(signed: Fleet) -> None:
    done = signed.fleetbox("push-policy", OFFLINE, "-y", "--json", *ONE)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["signed"]) == (0, True), done.stderr
    assert ", signed" in done.stderr
    assert "release policies/default/1.tar, assigned to 1 host(s)" in done.stderr
    assert status(signed)["default_policy"] == "offline"
    trust = status(signed)["trust"]
    assert (trust["floor"]["generation"], trust["stale"]) == (1, False)


def test_the_same_policy_again_is_no_new_release_and_no_new_generation(signed: Fleet) -> None:
    before = status(signed)
    code, hosts = signed.push(OFFLINE, *ONE)
    assert (code, hosts["plain"]["outcome"]) == (0, "unchanged")
    assert status(signed)["generation"] == before["generation"]
    assert len(Trust(signed.folder / "state").published().releases()) == 1


def test_a_rollback_is_a_higher_generation_of_an_older_release(signed: Fleet) -> None:
    code, hosts = signed.push(BASE, *ONE)
    assert code == 0, hosts
    before = status(signed)
    code, hosts = signed.ask("rollback", "-y", "-l", "plain")
    assert code == 0, hosts
    after = status(signed)
    assert after["default_policy"] == "offline"
    assert after["generation"] > before["generation"]
    assert after["trust"]["floor"]["generation"] > before["trust"]["floor"]["generation"]


def test_nothing_unsigned_is_taken_whoever_asks(signed: Fleet, tmp_path: Path) -> None:
    before = signed.current()
    plain = {"FLEETBOX_STATE_DIR": str(tmp_path / "another")}
    code, hosts = signed.push(BASE, *ONE, **plain)
    assert (code, hosts["plain"]["reason"]) == (6, "unsigned")
    code, hosts = signed.ask("rollback", "-y", "-l", "plain", **plain)
    assert (code, hosts["plain"]["reason"]) == (6, "unsigned")
    digest = status(signed)["generations"][0]["digest"]
    assert host_says(signed, "activate", digest, "--no-smoke") == (6, "unsigned")
    assert host_says(signed, "rollback", "--no-smoke") == (6, "unsigned")
    assert signed.current() == before


def test_another_control_machines_keys_are_refused(signed: Fleet, tmp_path: Path) -> None:
    before = signed.current()
    other = {"FLEETBOX_STATE_DIR": str(tmp_path / "thief")}
    assert signed.fleetbox("init", **other).returncode == 0
    code, hosts = signed.push(BASE, *ONE, **other)
    assert code == 6, hosts
    assert hosts["plain"]["outcome"] == "trust_refused"
    assert signed.current() == before


def test_a_control_machine_restored_from_a_backup_goes_on_above_what_hosts_have_had(
    signed: Fleet, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(signed.folder / "state", backup)
    assert signed.push(BASE, *ONE)[0] == 0
    assert signed.push(OFFLINE, *ONE)[0] == 0
    before = status(signed)["trust"]["floor"]["generation"]
    code, hosts = signed.push(BASE, *ONE, FLEETBOX_STATE_DIR=str(backup))
    # Its metadata is older than what the host has seen: that is an attack for all that the host can know.
    assert (code, hosts["plain"]["reason"]) == (6, "rolled_back_metadata"), hosts
    assert status(signed)["trust"]["floor"]["generation"] == before


def test_a_release_below_the_floor_is_neither_assigned_nor_gone_back_to(
    signed: Fleet, tmp_path: Path
) -> None:
    wider = tmp_path / "base.yml"
    wider.write_text(
        "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: base}\n"
        "extends: [base]\nenvironment: {pass: [EDITOR]}\n"
    )
    assert signed.push(str(wider), *ONE)[0] == 0
    newest = max(name.number for name in Trust(signed.folder / "state").published().releases())
    done = signed.fleetbox("trust", "min-release", str(newest), "-y")
    assert done.returncode == 0, done.stderr
    before = signed.current()
    code, hosts = signed.ask("rollback", "-y", "-l", "plain")
    assert code != 0, hosts
    assert signed.current() == before


def test_a_host_without_anchors_refuses_what_it_cannot_verify(signed: Fleet) -> None:
    code, hosts = signed.push(BASE, "-l", "small", "--no-verify")
    assert (code, hosts["small"]["reason"]) == (6, "no_anchor")
    assert "role" in hosts["small"]["hint"]


def test_a_teams_release_waits_for_the_teams_keys(signed: Fleet, tmp_path: Path) -> None:
    before = signed.current()
    key = tmp_path / "research.pem"
    assert signed.fleetbox("trust", "new-key", str(key), "--no-passphrase").returncode == 0
    done = signed.fleetbox("push-policy", BASE, "-y", "--team", "research", *ONE)
    assert (done.returncode, "no team 'research'" in done.stderr) == (2, True), done.stderr
    assert signed.fleetbox("trust", "delegate", "research", "--key", f"{key}.pub", "-y").returncode == 0
    waiting = signed.fleetbox("push-policy", BASE, "-y", "--team", "research", *ONE)
    assert (waiting.returncode, "waits for signatures" in waiting.stderr) == (6, True), waiting.stderr
    assert signed.current() == before, "nobody was contacted"
