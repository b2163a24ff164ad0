"""Trials on real hosts: two policies that a workload can tell apart, and what a host says of them."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from fleetbox.bundle import Bundle
from fleetbox.hostside import paths
from tests.support.hosts.host import Host
from tests.support.provision import compiled
from tests.support.signed import Fleet, TrustingHost

REPO = Path(__file__).resolve().parents[3]
UNITS = ("fleetbox-watchdog.path", "fleetbox-watchdog.service")
STALE_UNITS = ("fleetbox-stale.timer", "fleetbox-stale.service")
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
    for unit in (*UNITS, *STALE_UNITS):
        host.put(f"/etc/systemd/system/{unit}", (REPO / "roles/hostside/files" / unit).read_bytes())
    host.exec(["systemctl", "daemon-reload"])
    host.exec(["systemctl", "enable", "--now", UNITS[0]])


def cron_command() -> str:
    """The line for reboots that role hostside installs, after the time and the account."""
    tasks = yaml.safe_load((REPO / "roles/hostside/tasks/watchdog.yml").read_text())
    content = tasks[-1]["ansible.builtin.copy"]["content"]
    [command] = [line.removeprefix("@reboot root ") for line in content.splitlines() if line.startswith("@")]
    return str(command)


@contextmanager
def due_since_2001(host: Host, folder: Path) -> Iterator[None]:
    """What `host` enforces was vouched for by signatures that ran out in 2001, and it keeps it for a day."""
    fleet = Fleet()
    for repository in (fleet.policy, fleet.assignment):
        for role in ("targets", "snapshot", "timestamp"):
            repository.expire(role, datetime(2001, 1, 1, tzinfo=UTC))
    sent = fleet.assign(fleet.release(5), 1, issued="2000-01-01T00:00:00Z")
    signed = TrustingHost(folder / "signed", fleet)
    signed.take(sent, wall=datetime(2000, 1, 2, tzinfo=UTC))
    before = host.exec(["cat", paths.HOST_CONFIG], check=False).stdout
    config = json.loads(before) if before else {}
    host.put(paths.HOST_CONFIG, json.dumps({**config, "max_stale_days": 1}).encode())
    seen = {paths.FLOOR: "floor.json", paths.TRUST_METADATA: "trust/metadata.tar"}
    for path, name in seen.items():
        host.put(path, (signed.state / name).read_bytes())
    yield
    host.exec(["rm", "-rf", paths.FLOOR, paths.TRUST, paths.LOOKS, paths.HOST_CONFIG])
    if before:
        host.put(paths.HOST_CONFIG, before)


def an_hour_passes(host: Host) -> None:
    """Of what `host` has run since its last look."""
    fields = json.loads(host.get(paths.LOOKS))
    host.put(paths.LOOKS, json.dumps({**fields, "ran": fields["ran"] + 3600.0}).encode())
