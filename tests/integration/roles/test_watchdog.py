"""Role `hostside`, its watchdog and its looks at signatures: units with systemd, lines for cron without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fleetbox.hostside import paths
from tests.integration.roles.playbooks import Run, play
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec

pytestmark = pytest.mark.host

ROLE = ("site.yml", "--tags", "hostside")
UNITS = tuple(
    f"/etc/systemd/system/fleetbox-{unit}"
    for unit in ("watchdog.path", "watchdog.service", "stale.timer", "stale.service")
)
CRON = "/etc/cron.d/fleetbox"


@dataclass(frozen=True)
class Done:
    """Two hosts after a check run, which left `of_check`, a first and a second run of the role."""

    lab: Lab
    units: Host
    cron: Host
    checked: Run
    of_check: list[str]
    first: Run
    second: Run


@pytest.fixture(scope="module")
def done(lab: Lab, launcher: object) -> Iterator[Done]:
    units, cron = hosts = lab.up(HostSpec.of("units", kind="systemd"), HostSpec.of("cron"))
    cron.exec(["mkdir", "-p", "/etc/cron.d"])
    checked = play(lab, hosts, *ROLE, "--check")
    of_check = [change.path for host in hosts for change in host.overlay_diff() if "fleetbox" in change.path]
    first, second = play(lab, hosts, *ROLE), play(lab, hosts, *ROLE)
    yield Done(lab, units, cron, checked, of_check, first, second)
    lab.down(*hosts)


def test_a_check_run_succeeds_says_so_and_installs_nothing(done: Done) -> None:
    for host in (done.units, done.cron):
        assert done.checked.ended_well(host), done.checked.output
        assert done.checked.recap[host.name]["changed"] > 0
    assert done.of_check == []


def test_a_second_run_changes_nothing(done: Done) -> None:
    for host in (done.units, done.cron):
        assert done.first.ended_well(host), done.first.output
        assert done.second.recap[host.name]["changed"] == 0, done.second.output


def test_systemd_watches_now_and_after_the_next_boot(done: Done) -> None:
    for question in ("is-active", "is-enabled"):
        done.units.exec(["systemctl", question, "fleetbox-watchdog.path", "fleetbox-stale.timer"])
    assert modes(done.units, *UNITS) == ["root:root 644"] * 4
    assert modes(done.units, CRON) == [], "one watchdog is enough"


def test_without_systemd_cron_goes_back_at_boot(done: Done) -> None:
    assert modes(done.cron, CRON) == ["root:root 644"]
    assert modes(done.cron, *UNITS) == []
    when, account, command = lines(done.cron, CRON)[0].split(" ", 2)
    assert (when, account) == ("@reboot", "root")
    assert done.cron.exec(["sh", "-c", command]).stdout == b""
    done.cron.exec(["install", "-d", paths.STATE])
    done.cron.exec(["touch", paths.PENDING])
    assert b'"reversal"' in done.cron.exec(["sh", "-c", command]).stdout, "the program has looked"


def test_without_systemd_cron_looks_at_signatures_every_hour_and_says_nothing_while_all_is_well(
    done: Done,
) -> None:
    minute, *others, account, command = lines(done.cron, CRON)[1].split(" ", 6)
    assert (int(minute) in range(60), others, account) == (True, ["*"] * 4, "root")
    looked = done.cron.exec(["sh", "-c", command])
    assert looked.stdout + looked.stderr == b""
    done.cron.put(paths.HOST_CONFIG, b"{")
    told = done.cron.exec(["sh", "-c", command], check=False)
    assert (told.returncode, b"host.json" in told.stderr) == (5, True), "cron sends it to root"
    done.cron.exec(["rm", paths.HOST_CONFIG])


def test_uninstalling_leaves_no_unit_and_no_line(done: Done) -> None:
    hosts = [done.units, done.cron]
    removed = play(done.lab, hosts, "playbooks/uninstall.yml", "--tags", "hostside")
    assert all(removed.ended_well(host) for host in hosts), removed.output
    assert modes(done.units, *UNITS) + modes(done.cron, CRON) == []
    for unit in UNITS:
        show = ["systemctl", "show", "--value", "-p", "LoadState", unit.rpartition("/")[2]]
        assert done.units.exec(show).stdout == b"not-found\n", "systemd still knows it"


def lines(host: Host, file: str) -> list[str]:
    """Those that are no comment."""
    return [line for line in host.get(file).decode().splitlines() if not line.startswith("#")]


def modes(host: Host, *files: str) -> list[str]:
    return host.exec(["stat", "-c", "%U:%G %a", *files], check=False).stdout.decode().splitlines()
