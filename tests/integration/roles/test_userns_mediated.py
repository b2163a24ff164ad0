"""Role userns where AppArmor decides who makes user namespaces: a kernel with mediation of them, Debian 13's.

A profile confines whoever logs in and lacks the rule `userns`, so every program without a profile of its own
is refused one, as by Ubuntu's sysctl.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetbox.hostside import paths, stream
from tests.integration.roles.playbooks import play
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec

pytestmark = [pytest.mark.host, pytest.mark.emulated]

PACKAGED = "/usr/bin/bwrap"
SANDBOX = ("--unshare-user", "--unshare-net", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev")
LABEL = "/proc/self/attr/current"
PROFILE = "/etc/apparmor.d/fleetbox-bwrap"
LOADED = "/sys/kernel/security/apparmor/profiles"


@pytest.fixture(scope="module")
def host(lab: Lab) -> Iterator[Host]:
    [host] = lab.up(HostSpec.of("mediated", kind="qemu", suite="trixie", apparmor="session"))
    install = "apt-get -qq update && apt-get -qq install --no-install-recommends bubblewrap"
    host.exec(["sh", "-c", install], timeout=300)
    yield host
    lab.down(host)


def facts(host: Host) -> dict[str, Any]:
    done = host.ssh([paths.PYTHON, "-I", "-S", "-"], data=stream.script(["facts"]).encode())
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def made_by(host: Host, bwrap: str) -> str:
    """What dev gets who makes a sandbox with this program: the label inside, or why not."""
    done = host.ssh([bwrap, *SANDBOX, "cat", LABEL], check=False)
    return (done.stdout + done.stderr).decode().strip()


def run(lab: Lab, host: Host, folder: Path, *roles: str, **variables: object) -> dict[str, int]:
    book = folder / "playbook.yml"
    head = {"hosts": "all", "gather_facts": False, "become": True, "vars": variables}
    book.write_text(yaml.safe_dump([head | {"roles": list(roles)}]))
    done = play(lab, [host], str(book))
    assert done.ended_well(host), done.output
    return done.recap[host.name]


REFUSED = "bwrap: Creating new namespace failed: Permission denied"


def test_the_copy_alone_may_make_them_and_may_not_afterwards(lab: Lab, host: Host, tmp_path: Path) -> None:
    assert host.ssh(["cat", LABEL]).stdout == b"session (enforce)\n"
    assert made_by(host, PACKAGED) == REFUSED
    assert b'operation="userns_create" class="namespace" profile="session"' in host.exec(["dmesg"]).stdout
    [gate] = facts(host)["gates"]
    assert (gate["id"], gate["symptom"]) == ("apparmor_profile", f"session (enforce); {REFUSED}")

    run(lab, host, tmp_path, "bubblewrap", "userns")
    assert made_by(host, paths.BWRAP) == "fleetbox-bwrap (unconfined)"
    assert made_by(host, PACKAGED) == REFUSED
    assert host.ssh(["unshare", "--user", "true"], check=False).returncode != 0
    found = facts(host)
    assert (found["gates"], found["costs"], found["bwrap"]["path"]) == ([], [], paths.BWRAP)
    assert run(lab, host, tmp_path, "userns")["changed"] == 0

    run(lab, host, tmp_path, "userns", userns_state="absent")
    assert made_by(host, paths.BWRAP) == REFUSED
    assert [gate["id"] for gate in facts(host)["gates"]] == ["apparmor_profile"]
    assert host.exec(["test", "-e", PROFILE], check=False).returncode == 1
    assert b"fleetbox-bwrap" not in host.get(LOADED)
