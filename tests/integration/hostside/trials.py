"""Trials on real hosts: two policies that a workload can tell apart, and what a host says of them."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from fleetbox.bundle import Bundle
from fleetbox.hostside import paths
from tests.support.hosts.host import Host
from tests.support.provision import compiled

REPO = Path(__file__).resolve().parents[3]
UNITS = ("fleetbox-watchdog.path", "fleetbox-watchdog.service")
FOREVER = "100000"
# Two files of a generation, the launch plan and the filter: half of one and half of the other would show.
OLD = compiled({"main": "environment: {set: {WHICH: old}}\nprocess: {unix_sockets: none}\n"})
NEW = compiled({"main": "environment: {set: {WHICH: new}}\nprocess: {unix_sockets: private}\n"})
ASK = """
import os, socket
try:
    socket.socket(socket.AF_UNIX)
    sockets = 'open'
except PermissionError:
    sockets = 'closed'
print(os.environ['WHICH'], sockets, flush=True)
"""
VIEWS = {"old closed", "new open"}
_PATIENCE_S = 40.0


def activate(host: Host, built: Bundle, *options: str) -> dict[str, Any]:
    """As root, without checks: either policy may stand in for the other."""
    interchangeable = [f"--not-narrower-than={each.digest}" for each in (OLD, NEW)]
    argv = [paths.HOST_PROGRAM, "activate", built.digest, "--bundle", "-", "--no-smoke"]
    done = host.exec([*argv, *interchangeable, *options], data=built.tar, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def on_trial(host: Host, within: str) -> dict[str, Any]:
    """NEW, after OLD was made to stay."""
    activate(host, OLD)
    return activate(host, NEW, "--confirm-within", within)


def ask(host: Host, *argv: str) -> dict[str, Any]:
    """Any verb; its answer."""
    done = host.exec([paths.HOST_PROGRAM, *argv], check=False)
    return dict(json.loads(done.stdout))


def undecided(host: Host) -> bool:
    return host.exec(["test", "-e", paths.PENDING], check=False).returncode == 0


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Patience for a busy machine, not a measurement."""
    end = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def must_go_back(host: Host, reason: str = "unconfirmed") -> None:
    """By itself: nothing is asked of the host until it has."""
    eventually(lambda: not undecided(host), "nothing went back")
    has_gone_back(host, reason)


def has_gone_back(host: Host, reason: str = "unconfirmed") -> None:
    said = ask(host, "status")
    assert said["digest"] == OLD.digest
    assert (said["last_reversal"]["reason"], said["last_reversal"]["digest"]) == (reason, NEW.digest)


def install_units(host: Host) -> None:
    """What role hostside does with systemd."""
    for unit in UNITS:
        host.put(f"/etc/systemd/system/{unit}", (REPO / "roles/hostside/files" / unit).read_bytes())
    host.exec(["systemctl", "daemon-reload"])
    host.exec(["systemctl", "enable", "--now", UNITS[0]])


def cron_command() -> str:
    """The line that role hostside installs, after the time and the account."""
    tasks = yaml.safe_load((REPO / "roles/hostside/tasks/watchdog.yml").read_text())
    content = tasks[-1]["ansible.builtin.copy"]["content"]
    [line] = [line for line in content.splitlines() if not line.startswith("#")]
    when, account, command = line.split(" ", 2)
    assert (when, account) == ("@reboot", "root")
    return str(command)
