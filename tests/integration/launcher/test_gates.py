"""What the launcher calls a gate and what the host program's probe calls it: on each odd host the same."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.integration.launcher.gated import GATED
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import Provisioned, provisioned

pytestmark = pytest.mark.host

SPECS = (*GATED, HostSpec.of("plain"))
POLICIES = {"main": "environment: {pass: [PATH, HOME]}\n"}
Hosts = dict[str, Provisioned]


@pytest.fixture(scope="module")
def hosts(lab: Lab, launcher: Path) -> Iterator[Hosts]:
    with provisioned(lab, launcher, *SPECS) as made:
        for box in made:
            box.activate(POLICIES)
        yield {box.host.name: box for box in made}


def named_by_the_launcher(box: Provisioned, *before: str) -> str:
    done = box.run(*before, *box.command("touch", "ran"))
    assert done.returncode == 125, done
    found = re.search(r"^fleetbox-run: cannot sandbox \((\w+)\): ", done.stderr, re.MULTILINE)
    assert found, done.stderr
    return found[1]


def named_by_the_probe(box: Provisioned, *before: str) -> str:
    """As dev, so that a filter which hangs on dev's login holds for the probe as well."""
    done = box.run(*before, paths.HOST_PROGRAM, "facts")
    [gate] = json.loads(done.stdout)["gates"]
    return str(gate["id"])


@pytest.mark.parametrize(
    ("name", "gate"),
    [
        ("enospc", "userns_max_zero"),
        ("eperm", "userns_errno"),
        ("einval", "userns_errno"),
        ("wsl1", "wsl1"),
        ("masked", "proc_masked"),
    ],
)
def test_both_name_the_same_gate(hosts: Hosts, name: str, gate: str) -> None:
    assert (named_by_the_launcher(hosts[name]), named_by_the_probe(hosts[name])) == (gate, gate)


@pytest.mark.parametrize(
    ("kind", "gate"),
    [("net", "netns_max_zero"), ("pid", "ns_max_zero"), ("ipc", "ns_max_zero"), ("mnt", "ns_max_zero")],
)
def test_both_name_the_same_limit(hosts: Hosts, kind: str, gate: str) -> None:
    box = hosts["plain"]
    path = f"/proc/sys/user/max_{kind}_namespaces"
    before = box.host.get(path).decode().strip()
    box.change(f"echo 0 > {path}")
    try:
        assert (named_by_the_launcher(box), named_by_the_probe(box)) == (gate, gate)
    finally:
        box.change(f"echo {before} > {path}")


def test_both_name_the_container(hosts: Hosts) -> None:
    box = hosts["eperm"]
    box.change("touch /.dockerenv")
    try:
        assert (named_by_the_launcher(box), named_by_the_probe(box)) == ("container", "container")
    finally:
        box.change("rm /.dockerenv")


def test_both_name_the_sandbox_around_them(hosts: Hosts) -> None:
    box, mark = hosts["eperm"], ("env", "FLEETBOX_SANDBOX=outer")
    assert named_by_the_launcher(box, *mark) == "nested_sandbox"
    assert named_by_the_probe(box, *mark) == "nested_sandbox"


def test_a_sandbox_really_started_in_a_sandbox_says_where_it_is(hosts: Hosts) -> None:
    box = hosts["plain"]
    done = box.launch(*box.command("true"))
    assert done.returncode == 125, done
    assert "cannot sandbox (nested_sandbox)" in done.stderr
    assert "inside fleetbox" in done.stderr
