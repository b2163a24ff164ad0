"""The watchdog of hosts with systemd: whatever becomes of it or of its units, a host goes back. And the timer
that looks for signatures which are due.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.integration.hostside.trials import (
    FOREVER,
    OLD,
    STALE_UNITS,
    UNITS,
    activate,
    an_hour_passes,
    ask,
    due_since_2001,
    eventually,
    install_units,
    must_go_back,
    on_trial,
    undecided,
)
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import provisioned

pytestmark = pytest.mark.host

PATH, SERVICE = UNITS
TIMER, STALE = STALE_UNITS
SUITES = ("bullseye", "bookworm", "trixie")


@pytest.fixture(scope="module")
def hosts(lab: Lab, launcher: Path) -> Iterator[dict[str, Host]]:
    specs = [HostSpec.of(f"watched-{suite}", suite=suite, kind="systemd") for suite in SUITES]
    with provisioned(lab, launcher, *specs) as boxes:
        for box in boxes:
            install_units(box.host)
        yield dict(zip(SUITES, (box.host for box in boxes), strict=True))


@pytest.fixture
def host(hosts: dict[str, Host]) -> Iterator[Host]:
    """The oldest systemd, with its watcher at work and nothing on trial, before the test and after it."""
    host = hosts["bullseye"]
    yield host
    host.exec(["systemctl", "start", PATH])
    activate(host, OLD)


def show(host: Host, field: str) -> str:
    return host.exec(["systemctl", "show", "--value", "-p", field, SERVICE]).stdout.decode().strip()


@pytest.mark.parametrize("suite", SUITES)
def test_systemd_finds_nothing_wrong_with_the_units(hosts: dict[str, Host], suite: str) -> None:
    files = [f"/etc/systemd/system/{unit}" for unit in (*UNITS, *STALE_UNITS)]
    done = hosts[suite].exec(["systemd-analyze", "verify", "--man=no", *files], check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.mark.parametrize("suite", SUITES)
def test_a_host_goes_back_by_itself_from_what_nobody_confirms(hosts: dict[str, Host], suite: str) -> None:
    assert on_trial(hosts[suite], "2")["watchdog"] == "unit"
    must_go_back(hosts[suite])


def test_what_is_confirmed_stays_and_the_watchdog_ends(host: Host) -> None:
    trial = on_trial(host, FOREVER)
    assert show(host, "ActiveState") == "active"
    ask(host, "confirm", str(trial["generation"]), trial["pending"]["nonce"])
    eventually(lambda: show(host, "ActiveState") == "inactive", "it still watches")
    assert ask(host, "status")["digest"] == trial["digest"]


def test_killed_again_and_again_it_still_goes_back(host: Host) -> None:
    on_trial(host, "6")
    for _ in range(2):
        eventually(lambda: show(host, "SubState") == "running", "it was not started again")
        host.exec(["systemctl", "kill", "-s", "KILL", SERVICE])
    must_go_back(host)


def test_stopped_it_is_started_again(host: Host) -> None:
    on_trial(host, "3")
    host.exec(["systemctl", "stop", SERVICE])
    must_go_back(host)


def test_without_the_watcher_an_activation_has_systemd_run_one_that_is_started_again(host: Host) -> None:
    host.exec(["systemctl", "stop", PATH, SERVICE])
    assert on_trial(host, "3")["watchdog"] == "transient"
    host.exec(["systemctl", "kill", "-s", "KILL", "run-*.service"])
    must_go_back(host)


def test_a_unit_that_cannot_start_is_not_relied_upon(host: Host) -> None:
    """As where the host refuses the mounts that harden it, in some containers."""
    drop_in = f"/run/systemd/system/{SERVICE}.d/refused.conf"
    host.put(drop_in, b"[Service]\nBindPaths=/does-not-exist\n")
    host.exec(["systemctl", "daemon-reload"])
    try:
        assert on_trial(host, "2")["watchdog"] == "transient"
        must_go_back(host)
    finally:
        host.exec(["rm", drop_in])
        host.exec(["systemctl", "daemon-reload"])


def test_a_trial_of_an_earlier_boot_is_over_when_the_watcher_starts(host: Host) -> None:
    host.exec(["systemctl", "stop", PATH, SERVICE])
    on_trial(host, FOREVER)
    host.exec(["systemctl", "stop", "run-*.service"])
    earlier = 's/"boot": "[^"]*"/"boot": "earlier"/'
    host.exec(["sed", "-i", earlier, paths.PENDING])
    assert undecided(host)
    host.exec(["systemctl", "start", PATH])
    must_go_back(host, "rebooted")


def test_a_host_without_the_program_keeps_trying_and_does_not_spin(host: Host) -> None:
    """A condition of the unit would have systemd 247 try it for ever, without a pause."""
    host.exec(["systemctl", "stop", PATH, SERVICE])
    on_trial(host, "1")
    host.exec(["systemctl", "stop", "run-*.service"])
    host.exec(["mv", paths.HOST_PROGRAM, "/root/away"])
    try:
        host.exec(["systemctl", "start", PATH])
        eventually(lambda: int(show(host, "NRestarts")) > 1, "it is not tried again")
        journal = host.exec(["journalctl", "--no-pager", "--output=cat", f"--unit={SERVICE}"]).stdout
        assert journal.count(b"Starting ") < 100
    finally:
        host.exec(["mv", "/root/away", paths.HOST_PROGRAM])
    must_go_back(host)


def test_the_watchdog_writes_where_it_must_and_nowhere_else(host: Host) -> None:
    """As the units, hardened: the audit trail beside the state."""
    assert _hardening(host, SERVICE) == _hardening(host, STALE)
    settings = _hardening(host, SERVICE)
    words = [word for setting in settings for word in ("-p", setting)]
    trail = "install -d -m 0750 /var/log/fleetbox/audit && touch /var/log/fleetbox/audit/tried"
    for script, ended in ((trail, 0), ("touch /var/lib/fleetbox/tried", 0), ("touch /etc/tried", 1)):
        run = ["systemd-run", "--quiet", "--wait", "--pipe", *words, "sh", "-c", script]
        done = host.exec(run, check=False)
        assert done.returncode == ended, (script, done.stderr)
    host.exec(["rm", "/var/log/fleetbox/audit/tried", "/var/lib/fleetbox/tried"])


def _hardening(host: Host, service: str) -> list[str]:
    """What of a service's settings is not about starting it."""
    text = host.get(f"/etc/systemd/system/{service}").decode()
    lines = [line for line in text.partition("[Service]\n")[2].splitlines() if line and line[0] != "#"]
    return [line for line in lines if not line.startswith(("Type", "Exec", "Restart", "Timeout"))]


# -- signatures that are due ----------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES)
def test_two_looks_an_hour_apart_lead_to_the_baseline(
    hosts: dict[str, Host], suite: str, tmp_path: Path
) -> None:
    host = hosts[suite]
    activate(host, OLD)
    with due_since_2001(host, tmp_path):
        host.exec(["systemctl", "start", STALE])
        said = ask(host, "status")
        assert (said["digest"], said["trust"]["too_long"]) == (OLD.digest, True)
        journal = host.exec(["journalctl", "--no-pager", "--output=cat", f"--unit={STALE}"]).stdout
        assert b"clock says" in journal
        an_hour_passes(host)
        host.exec(["systemctl", "start", STALE])
        said = ask(host, "status")
        assert (said["baseline"], said["last_reversal"]["reason"]) == (True, "stale")
    activate(host, OLD)


@pytest.mark.parametrize("suite", SUITES)
def test_the_timer_looks_after_boot_and_every_hour(hosts: dict[str, Host], suite: str) -> None:
    """This host was started long ago for its systemd: what is due since boot is due now."""
    host = hosts[suite]
    host.exec(["systemctl", "enable", "--now", TIMER])
    timers = host.exec(["systemctl", "show", "--value", "-p", "TimersMonotonic", TIMER]).stdout.decode()
    assert ("OnUnitActiveUSec=1h" in timers, "OnBootUSec=5min" in timers) == (True, True), timers
    host.exec(["systemctl", "start", STALE])
    eventually(lambda: next_look(host) != "infinity", "the timer does not wait for anything")


def next_look(host: Host) -> str:
    shown = host.exec(["systemctl", "show", "--value", "-p", "NextElapseUSecMonotonic", TIMER]).stdout
    return shown.decode().strip()


def test_a_look_that_fails_is_seen_and_tried_again(host: Host, tmp_path: Path) -> None:
    with due_since_2001(host, tmp_path):
        host.put(paths.FLOOR, b"{")
        host.exec(["systemctl", "start", STALE], check=False)
        assert host.exec(["systemctl", "is-failed", STALE]).stdout == b"failed\n"
        assert ask(host, "status")["error"]["code"] == "floor_damaged"
        host.exec(["rm", paths.FLOOR])
        host.exec(["systemctl", "start", STALE])
        assert host.exec(["systemctl", "is-failed", STALE], check=False).stdout == b"inactive\n"
