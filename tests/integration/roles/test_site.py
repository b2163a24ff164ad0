"""`ansible-playbook site.yml` on bare hosts: what it makes, what it refuses, that it can be undone.

One set of hosts for the whole file, because an installation costs seconds: a check run, a first run, a
second run, and only at the end the removal. The tests look at what these left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.roles.playbooks import Run, play
from tests.support.hosts.changes import Change
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec

pytestmark = pytest.mark.host

BWRAP = "/usr/local/lib/fleetbox/bin/bwrap"
SANDBOX = [BWRAP, "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"]
SPECS = (
    HostSpec.of("plain"),
    HostSpec.of("gpu", suite="trixie", gpu="nodes", variables={"fleetbox_workload_user": "dev"}),
    HostSpec.of("closed", suite="trixie", userns="ENOSPC"),
    HostSpec.of("wsl1", hooks=["wsl1"], userns="EINVAL"),
    HostSpec.of("blocked", userns="EPERM"),
)
ABLE = ("plain", "gpu", "closed")
REFUSED = ("wsl1", "blocked")


@dataclass(frozen=True)
class Site:
    """The hosts, and what each run of site.yml printed; `changes_of_check` were seen after the check run."""

    lab: Lab
    hosts: dict[str, Host]
    checked: Run
    changes_of_check: dict[str, list[Change]]
    first: Run
    second: Run


@pytest.fixture(scope="module")
def site(lab: Lab, launcher: object) -> Iterator[Site]:
    hosts = lab.up(*SPECS)
    checked = play(lab, hosts, "site.yml", "--check")
    changes = {host.name: _changes(host, NOISE) for host in hosts}
    first, second = play(lab, hosts, "site.yml"), play(lab, hosts, "site.yml")
    yield Site(lab, {host.name: host for host in hosts}, checked, changes, first, second)
    lab.down(*hosts)


# Ansible's own temporary files, and what apt keeps for itself when it is only asked.
NOISE = ("/home/dev/.ansible/", "/var/cache/apt/")


def _changes(host: Host, noise: tuple[str, ...] = NOISE[:1]) -> list[Change]:
    """What is different on the host since it came up."""
    return [change for change in host.overlay_diff() if not f"{change.path}/".startswith(noise)]


@pytest.mark.parametrize("name", ABLE)
def test_a_check_run_on_a_bare_host_succeeds_and_changes_nothing(site: Site, name: str) -> None:
    assert site.checked.ended_well(site.hosts[name]), site.checked.output
    assert site.checked.recap[name]["changed"] > 0, "it would change something, and must say so"
    assert site.changes_of_check[name] == []


@pytest.mark.parametrize("name", ABLE)
def test_the_first_run_leaves_a_host_that_can_sandbox(site: Site, name: str) -> None:
    host = site.hosts[name]
    assert site.first.ended_well(host), site.first.output
    host.ssh(SANDBOX)
    host.ssh(["/usr/local/bin/fleetbox-run", "--version"])


@pytest.mark.parametrize("name", ABLE)
def test_a_second_run_changes_nothing(site: Site, name: str) -> None:
    assert site.second.ended_well(site.hosts[name]), site.second.output
    assert site.second.recap[name]["changed"] == 0, site.second.output


def test_a_second_run_costs_a_host_at_most_twelve_tasks(site: Site) -> None:
    """A run costs what Ansible costs per task; validation and refusals stay on the control machine."""
    tasks = re.findall(r"^TASK \[(.*)\] \**\n((?:.+\n)*)", site.second.output, re.MULTILINE)
    local = ("Validating arguments", "Refuse", "Keep the answer")
    asked = [name for name, results in tasks if "ok: [plain]" in results and not _says(name, local)]
    assert 0 < len(asked) <= 12, asked


def _says(task: str, beginnings: tuple[str, ...]) -> bool:
    return task.rpartition(" : ")[2].startswith(beginnings)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_host_fails_alone_and_nothing_on_it_changed(site: Site, name: str) -> None:
    for run in (site.checked, site.first, site.second):
        assert not run.ended_well(site.hosts[name])
        assert run.recap[name]["changed"] == 0
        assert run.code != 0
    assert _changes(site.hosts[name]) == []


def test_wsl1_is_refused_with_the_command_that_helps(site: Site) -> None:
    words = site.first.words(site.hosts["wsl1"])
    assert "(wsl1)" in words
    assert "wsl --set-version" in words


def test_a_gate_that_no_role_may_open_is_named(site: Site) -> None:
    words = site.first.words(site.hosts["blocked"])
    assert "(userns_errno)" in words
    assert "Remedy:" in words


def test_a_closed_sysctl_is_opened_now_and_for_the_next_boot(site: Site) -> None:
    host = site.hosts["closed"]
    assert host.get("/proc/sys/user/max_user_namespaces") == b"15000\n"
    setting = host.get("/etc/sysctl.d/60-fleetbox-max-user-namespaces.conf")
    assert b"user.max_user_namespaces = 15000" in setting
    assert "Undo: this role with userns_state: absent" in " ".join(site.first.output.split())


def test_an_open_host_gets_no_kernel_setting(site: Site) -> None:
    assert [change.path for change in _changes(site.hosts["plain"]) if "/etc/sysctl.d/" in change.path] == []


def test_gpu_nodes_without_a_driver_are_left_alone(site: Site) -> None:
    paths = [change.path for change in _changes(site.hosts["gpu"])]
    assert [path for path in paths if "udev" in path or "modprobe" in path] == []


def test_an_account_that_exists_is_used_as_it_is(site: Site) -> None:
    accounts = site.hosts["gpu"].get("/etc/passwd").decode()
    assert "fleetbox-workload" not in accounts
    assert "dev:x:1000:1000::/home/dev:" in accounts
    assert b'"dev"' in site.hosts["gpu"].get("/etc/fleetbox/host.json")
    assert b"fleetbox-workload:x:" in site.hosts["plain"].get("/etc/passwd")


def test_everything_installed_belongs_to_root_and_nobody_else_writes_it(site: Site) -> None:
    places = [
        "/usr/local/lib/fleetbox",
        "/usr/local/bin",
        "/var/lib/fleetbox",
        "/etc/fleetbox",
        "/etc/ansible",
    ]
    others = ["(", "!", "-user", "root", "-o", "-perm", "/022", "-o", "-perm", "/6000", ")"]
    found = site.hosts["plain"].exec(["find", *places, "!", "-type", "l", *others])
    assert found.stdout == b""


def test_an_unprivileged_user_can_write_but_not_list_the_refusals(site: Site) -> None:
    host = site.hosts["plain"]
    host.ssh(["touch", "/var/log/fleetbox/refusals/1000.jsonl"])
    assert host.ssh(["ls", "/var/log/fleetbox/refusals"], check=False).returncode != 0


def test_a_touched_program_is_healed(site: Site) -> None:
    host = site.hosts["plain"]
    for path in ("/usr/local/lib/fleetbox/fleetbox/hostside/paths.py", BWRAP, "/usr/local/bin/fleetbox-run"):
        host.exec(["sh", "-c", f"echo >> {path}"])
    host.put("/usr/local/lib/fleetbox/fleetbox/hostside/planted.py", b"")
    run = play(site.lab, [host], "site.yml", "--tags", "bubblewrap,launcher,hostside")
    assert run.recap["plain"]["changed"] == 3, run.output
    assert (
        host.exec(["ls", "/usr/local/lib/fleetbox/fleetbox/hostside/planted.py"], check=False).returncode != 0
    )
    host.ssh(SANDBOX)


def test_uninstalling_leaves_packages_and_nothing_else_of_ours(site: Site) -> None:
    host = site.hosts["closed"]
    run = play(site.lab, [host], "playbooks/uninstall.yml")
    assert run.ended_well(host), run.output
    left = [change.path for change in _changes(host) if "fleetbox" in change.path]
    assert left == []
    assert play(site.lab, [host], "playbooks/uninstall.yml").recap["closed"]["changed"] == 0
