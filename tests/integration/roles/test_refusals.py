"""What preflight and single roles do on hosts that are unlike others; none of these hosts is installed to."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.integration.roles.playbooks import REPO, book, play
from tests.support.hosts.fixtures import MakeHost
from tests.support.hosts.lab import Lab

pytestmark = pytest.mark.host

WSL_CONF = """\
[automount]
enabled = true

[interop]
enabled = true
appendWindowsPath = true

[user]
default = dev
"""
WSL_CONF_AFTER = """\
[automount]
enabled = true

[user]
default = dev

[interop]
enabled=false
appendWindowsPath=false
"""


def test_closed_namespaces_stay_closed_where_the_operator_says_so(lab: Lab, make_host: MakeHost) -> None:
    host = make_host("kept-closed", userns="ENOSPC", variables={"userns_manage": "false"})
    run = play(lab, [host], "site.yml")
    assert not run.ended_well(host)
    assert "(userns_max_zero)" in run.words(host)
    assert "max_user_namespaces" in run.words(host)
    assert host.get("/proc/sys/user/max_user_namespaces") == b"0\n"
    assert host.exec(["ls", "/usr/bin/bwrap"], check=False).returncode != 0


def test_a_host_without_python_is_refused_with_the_remedy(lab: Lab, make_host: MakeHost) -> None:
    host = make_host("no-python")
    host.exec(["mv", "/usr/bin/python3", "/usr/bin/python3.away"])
    run = play(lab, [host], "site.yml")
    assert not run.ended_well(host)
    assert "(python_missing)" in run.words(host)
    assert "apt-get install python3" in run.words(host)


def test_interop_is_switched_off_and_other_sections_stay(
    lab: Lab, make_host: MakeHost, tmp_path: Path
) -> None:
    host = make_host("wsl2", hooks=["wsl2"])
    host.put("/etc/wsl.conf", WSL_CONF.encode())
    role: dict[str, object] = {"ansible.builtin.include_role": {"name": "wsl"}}
    playbook = book(tmp_path, role, wsl_disable_interop=True)
    run = play(lab, [host], playbook)
    assert run.ended_well(host), run.output
    assert host.get("/etc/wsl.conf").decode() == WSL_CONF_AFTER
    assert "wsl --shutdown" in run.output
    assert play(lab, [host], playbook).recap[host.name]["changed"] == 0


def test_the_apparmor_profile_is_one_that_apparmor_reads(
    lab: Lab, make_host: MakeHost, tmp_path: Path
) -> None:
    """The real parser of Debian 13, with the ABI the profile names; no kernel here can load it."""
    host = make_host("parser", suite="trixie")
    apt: dict[str, object] = {"ansible.builtin.apt": {"name": "apparmor", "update_cache": True}}
    variables = yaml.safe_load((REPO / "roles/userns/vars/main.yml").read_text())
    template: dict[str, object] = {
        "ansible.builtin.template": {
            "src": str(REPO / "roles/userns/templates/fleetbox-bwrap.j2"),
            "dest": "/etc/apparmor.d/fleetbox-bwrap",
            "mode": "0644",
            "validate": "/usr/sbin/apparmor_parser --skip-kernel-load --skip-cache %s",
        }
    }
    run = play(lab, [host], book(tmp_path, apt, template, __userns_bwrap=variables["__userns_bwrap"]))
    assert run.ended_well(host), run.output
    names = host.exec(["/usr/sbin/apparmor_parser", "--names", "/etc/apparmor.d/fleetbox-bwrap"])
    assert names.stdout == b"fleetbox-bwrap\n"


def test_people_are_added_to_gpu_groups_and_a_mistyped_name_makes_no_account(
    lab: Lab, make_host: MakeHost, tmp_path: Path
) -> None:
    host = make_host("people", gpu="nvidia")
    role: dict[str, object] = {"ansible.builtin.include_role": {"name": "gpu"}}
    mistyped = play(lab, [host], book(tmp_path, role, gpu_users=["dev", "dve"]))
    assert "dve" in mistyped.words(host)
    assert b"dve" not in host.get("/etc/passwd")
    assert play(lab, [host], book(tmp_path, role, gpu_users=["dev"])).ended_well(host)
    assert b"video" in host.exec(["id", "--name", "--groups", "dev"]).stdout


def test_facts_reach_other_playbooks_without_an_installation(
    lab: Lab, make_host: MakeHost, tmp_path: Path
) -> None:
    host = make_host("asked", gpu="nvidia")
    role: dict[str, object] = {"ansible.builtin.include_role": {"name": "hostside", "tasks_from": "facts"}}
    agree: dict[str, object] = {
        "ansible.builtin.assert": {
            "that": ["fleetbox_facts.gpu.kind == 'nvidia'", "fleetbox_facts.wsl.version == 0"]
        }
    }
    run = play(lab, [host], book(tmp_path, role, agree))
    assert run.ended_well(host), run.output
    assert [one for one in host.overlay_diff() if not one.path.startswith("/home/dev/.ansible")] == []
