"""A push that cannot succeed ends with its own exit code and reason, and every `current` is what it was."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.push.conftest import REPO, Fleet, Inventory
from tests.support.sshd import generate_key

pytestmark = pytest.mark.host

OFFLINE = str(REPO / "policies/offline.yml")
BOTH = ("-l", "small,plain")


@pytest.fixture(autouse=True)
def nothing_changes(fleet: Fleet) -> Iterator[None]:
    before = fleet.current()
    assert all(re.fullmatch(r"/var/lib/fleetbox/store/[0-9a-f]{64}\n", target) for target in before)
    yield
    assert fleet.current() == before


def test_an_invalid_policy_ends_with_3_before_a_host_is_contacted(fleet: Fleet, tmp_path: Path) -> None:
    policy = tmp_path / "p.yml"
    policy.write_text(Path(OFFLINE).read_text() + "\nnonsense: true\n")
    fleet.plain.link_down()
    try:
        done = fleet.fleetbox("push-policy", str(policy), "-y", *BOTH)
    finally:
        fleet.plain.link_up()
    assert done.returncode == 3
    assert "nonsense" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_policy_that_hosts_could_not_check_ends_with_3(fleet: Fleet, tmp_path: Path) -> None:
    policy = tmp_path / "p.yml"
    policy.write_text(
        "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: listed}\n"
        "extends: [offline]\nprocess: {allowed_binaries: [git, sh]}\n"
    )
    done = fleet.fleetbox("push-policy", str(policy), "-y", *BOTH)
    assert done.returncode == 3
    assert "no Python" in done.stderr
    assert "hint: add /usr/bin/python3 to process.allowed_binaries" in done.stderr


@pytest.mark.parametrize("limit", ["plian", "small,plian", "gpu_wms", "small:!small"])
def test_a_mistyped_host_or_limit_ends_with_2(fleet: Fleet, limit: str) -> None:
    done = fleet.fleetbox("push-policy", OFFLINE, "-y", "-l", limit)
    assert done.returncode == 2
    assert limit in done.stderr


def test_without_a_terminal_and_without_yes_it_ends_with_2(fleet: Fleet) -> None:
    done = fleet.fleetbox("push-policy", OFFLINE, *BOTH)
    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_a_wrong_host_key_ends_with_6(fleet: Fleet, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"{fleet.plain.address} {generate_key(tmp_path / 'key')}")

    def distrust(content: Inventory) -> None:
        args = f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes"
        content["all"]["hosts"]["plain"]["ansible_ssh_common_args"] = args

    code, hosts = fleet.push(OFFLINE, "-l", "plain", FLEETBOX_INVENTORY=fleet.inventory(distrust))
    assert code == 6
    assert (hosts["plain"]["outcome"], hosts["plain"]["reason"]) == ("trust_refused", "host_key")
    assert "SHA256:" in hosts["plain"]["message"]


def test_a_host_that_is_down_ends_with_4(fleet: Fleet) -> None:
    def hurry(content: Inventory) -> None:
        host = content["all"]["hosts"]["plain"]
        host["ansible_ssh_extra_args"] = "-o ConnectTimeout=2"

    fleet.plain.link_down()
    try:
        code, hosts = fleet.push(OFFLINE, "-l", "plain", FLEETBOX_INVENTORY=fleet.inventory(hurry))
    finally:
        fleet.plain.link_up()
    assert code == 4
    assert hosts["plain"]["outcome"] == "unreachable"


@pytest.mark.parametrize(("what", "reason"), [("bytes", "disk_full"), ("inodes", "no_inodes")])
def test_a_full_disk_ends_with_5_and_leaves_no_half_bundle(fleet: Fleet, what: str, reason: str) -> None:
    def store() -> bytes:
        return fleet.small.exec(["find", "/var/lib/fleetbox/store"]).stdout

    before = store()
    fleet.small.fill(what)
    try:
        code, hosts = fleet.push(OFFLINE, "-l", "small")
    finally:
        fleet.small.unfill()
    assert code == 5
    assert (hosts["small"]["outcome"], hosts["small"]["reason"]) == ("failed", reason)
    assert store() == before
