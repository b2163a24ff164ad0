"""Role userns on hosts whose gates are real: it opens what is shut, no more, and takes back what it did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fleetbox.hostside import paths, stream
from tests.integration.roles.playbooks import REPO, play
from tests.support.hosts.fixtures import MakeHost
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab

pytestmark = pytest.mark.host

FILES = "/etc/sysctl.d/60-fleetbox-max-{}-namespaces.conf"
# What a sandbox needs and this role does not bring: bubblewrap and its copy.
ROLES = ("bubblewrap", "userns")
Playbook = Callable[..., str]


@pytest.fixture
def playbook(tmp_path: Path) -> Playbook:
    """A playbook of roles with variables, in a file of its own."""

    def write(*roles: str, **variables: object) -> str:
        tasks = [{"ansible.builtin.include_role": {"name": role}} for role in roles]
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.yml"
        path.write_text(
            yaml.safe_dump(
                [{"hosts": "all", "gather_facts": False, "become": True, "vars": variables, "tasks": tasks}]
            )
        )
        return str(path)

    return write


def limit(host: Host, kind: str, value: int | None = None) -> int:
    path = f"/proc/sys/user/max_{kind}_namespaces"
    if value is not None:
        host.exec(["tee", path], data=str(value).encode())
    return int(host.get(path))


def settings(host: Host) -> list[str]:
    return [
        one.path for one in host.overlay_diff() if one.path.startswith(("/etc/sysctl.d", "/etc/apparmor.d"))
    ]


def test_what_is_shut_is_opened_once_and_closed_again(
    lab: Lab, make_host: MakeHost, playbook: Playbook
) -> None:
    host = make_host("shut", userns="ENOSPC")
    limit(host, "net", 0)
    others = {kind: limit(host, kind) for kind in ("pid", "ipc", "uts", "mnt")}
    checked = play(lab, [host], playbook(*ROLES), "--check")
    assert (limit(host, "user"), limit(host, "net"), settings(host)) == (0, 0, []), checked.output
    opened = play(lab, [host], playbook(*ROLES))
    assert opened.ended_well(host), opened.output
    assert "user.max_net_namespaces was 0 and is now 15000" in " ".join(opened.output.split())
    assert (limit(host, "user"), limit(host, "net")) == (15000, 15000)
    assert {kind: limit(host, kind) for kind in others} == others
    assert settings(host) == [FILES.format("net"), FILES.format("user")]
    assert play(lab, [host], playbook(*ROLES)).recap[host.name]["changed"] == 0
    closed = play(lab, [host], playbook("userns", userns_state="absent"))
    assert closed.ended_well(host), closed.output
    assert (limit(host, "user"), limit(host, "net"), settings(host)) == (0, 0, [])
    again = play(lab, [host], playbook("userns", userns_state="absent"))
    assert (again.ended_well(host), again.recap[host.name]["changed"]) == (True, 0), again.output


def test_an_open_host_is_left_alone_and_keeps_what_others_wrote(
    lab: Lab, make_host: MakeHost, playbook: Playbook
) -> None:
    host = make_host("open")
    limit(host, "user", 70)
    theirs = b"# mine\nuser.max_user_namespaces = 70\n"
    host.put(FILES.format("user"), theirs)
    run = play(lab, [host], playbook(*ROLES))
    assert run.ended_well(host), run.output
    undone = play(lab, [host], playbook("userns", userns_state="absent"))
    assert undone.recap[host.name]["changed"] == 0, undone.output
    assert (limit(host, "user"), host.get(FILES.format("user"))) == (70, theirs)


def test_a_value_that_somebody_chose_since_survives_the_undoing(
    lab: Lab, make_host: MakeHost, playbook: Playbook
) -> None:
    host = make_host("chosen", userns="ENOSPC")
    assert play(lab, [host], playbook(*ROLES)).ended_well(host)
    limit(host, "user", 4000)
    assert play(lab, [host], playbook("userns", userns_state="absent")).ended_well(host)
    assert (limit(host, "user"), settings(host)) == (4000, [])


def test_a_file_of_somebody_else_is_not_overwritten(
    lab: Lab, make_host: MakeHost, playbook: Playbook
) -> None:
    host = make_host("theirs", userns="ENOSPC")
    theirs = b"user.max_user_namespaces = 0\n"
    host.put(FILES.format("user"), theirs)
    run = play(lab, [host], playbook(*ROLES))
    assert not run.ended_well(host)
    assert (limit(host, "user"), host.get(FILES.format("user"))) == (0, theirs)


def test_a_setting_that_was_lost_at_a_boot_is_set_again(
    lab: Lab, make_host: MakeHost, playbook: Playbook
) -> None:
    host = make_host("rebooted", userns="ENOSPC")
    assert play(lab, [host], playbook(*ROLES)).ended_well(host)
    limit(host, "user", 0)
    assert play(lab, [host], playbook(*ROLES)).ended_well(host)
    assert limit(host, "user") == 15000


def test_a_setuid_bwrap_hides_no_gate_from_the_copy_that_is_none(
    lab: Lab, make_host: MakeHost, playbook: Playbook
) -> None:
    host = make_host("setuid", userns="ENOSPC")
    install = "apt-get -qq update && apt-get -qq install --no-install-recommends bubblewrap"
    host.exec(["sh", "-c", f"{install} && chmod u+s /usr/bin/bwrap"])
    assert gates(host) == [], "it needs no user namespace"
    run = play(lab, [host], playbook(*ROLES))
    assert run.ended_well(host), run.output
    assert limit(host, "user") == 15000


def test_a_bwrap_that_refuses_to_be_setuid_is_named_and_the_copy_is_not(
    lab: Lab, make_host: MakeHost, playbook: Playbook
) -> None:
    host = make_host("unsupported", suite="trixie")
    install = "apt-get -qq update && apt-get -qq install --no-install-recommends bubblewrap"
    host.exec(["sh", "-c", f"{install} && chmod u+s /usr/bin/bwrap"])
    assert gates(host) == ["bwrap_setuid"]
    run = play(lab, [host], playbook(*ROLES))
    assert run.ended_well(host), run.output
    assert gates(host) == []


def test_the_uninstall_playbook_undoes_it_too(lab: Lab, make_host: MakeHost, playbook: Playbook) -> None:
    host = make_host("removed", userns="ENOSPC")
    assert play(lab, [host], playbook(*ROLES)).ended_well(host)
    run = play(lab, [host], str(REPO / "playbooks/uninstall.yml"), "--tags", "userns")
    assert run.ended_well(host), run.output
    assert (limit(host, "user"), settings(host)) == (0, [])


CLONE = "/proc/sys/kernel/unprivileged_userns_clone"
CLONE_FILE = "/etc/sysctl.d/60-fleetbox-unprivileged-userns-clone.conf"


def gates(host: Host) -> list[str]:
    """What the host program, as dev, says is shut."""
    done = host.ssh([paths.PYTHON, "-I", "-S", "-"], data=stream.script(["facts"]).encode())
    return [gate["id"] for gate in json.loads(done.stdout)["gates"]]


def test_a_kernel_that_refuses_users_is_opened_and_closed_again(
    lab: Lab, make_host: MakeHost, playbook: Playbook
) -> None:
    """On a kernel of its own: there the setting is real, and outlives a boot or not."""
    host = make_host("hardened", kind="uml", userns="EPERM")
    assert (host.get(CLONE), gates(host)) == (b"0\n", ["userns_clone_sysctl"])
    opened = play(lab, [host], playbook(*ROLES))
    assert opened.ended_well(host), opened.output
    assert (host.get(CLONE), gates(host)) == (b"1\n", [])
    assert play(lab, [host], playbook(*ROLES)).recap[host.name]["changed"] == 0
    host.reboot()
    assert (host.get(CLONE), gates(host)) == (b"1\n", []), "the file was applied at the boot"
    closed = play(lab, [host], playbook("userns", userns_state="absent"))
    assert closed.ended_well(host), closed.output
    assert (host.get(CLONE), gates(host)) == (b"0\n", ["userns_clone_sysctl"])
    assert host.exec(["test", "-e", CLONE_FILE], check=False).returncode == 1


CONFINING = b"""
profile bwrap /usr/bin/bwrap {
  file,
  unix,
  signal,
  capability setuid,
  capability setgid,
}
"""


def test_a_profile_that_confines_bwrap_is_named_and_the_copy_is_free_of_it(
    lab: Lab, make_host: MakeHost, playbook: Playbook
) -> None:
    """The nearest thing to Ubuntu's restriction that a kernel without its patch can do."""
    host = make_host("confined", kind="uml")
    host.exec(["sh", "-c", "apt-get -qq update && apt-get -qq install --no-install-recommends bubblewrap"])
    assert gates(host) == []
    host.put("/etc/apparmor.d/bwrap", CONFINING)
    host.exec(["apparmor_parser", "--replace", "/etc/apparmor.d/bwrap"])
    assert gates(host) == ["apparmor_profile"]
    run = play(lab, [host], playbook(*ROLES))
    assert run.ended_well(host), run.output
    assert gates(host) == []
