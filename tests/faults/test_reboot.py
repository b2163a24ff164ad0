"""A host with a kernel of its own is switched off between activation and confirmation, and comes up again.

`cut_power` ends user-mode Linux without a word. What its kernel had written to its disk stays, because this
machine keeps running; what it had not, and that is all that nobody synced, is gone. What a disk itself loses
or reorders, having said that it was written, this does not show; test_power_cut.py has that.

Its clock is its own as well, so here it is set wrong by years.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import delivery, paths
from fleetbox.hostside.delivery import Delivery
from tests.faults.conftest import Show
from tests.faults.tools import scaled
from tests.support import bundles
from tests.support.bundles import Built
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import program
from tests.support.signed import NOW, Fleet

pytestmark = pytest.mark.host

UNITS = Path(__file__).resolve().parents[2] / "roles/hostside/files"
WATCHER = "fleetbox-watchdog.path"
OLD, NEW = bundles.build("old"), bundles.build("new", ("second",))
Answer = dict[str, Any]


@pytest.fixture(scope="module")
def booted(lab: Lab, launcher: Path) -> Iterator[Host]:
    """With the host program and the units that role hostside installs."""
    [host] = lab.up(HostSpec.of("reboots", kind="uml-systemd"))
    program(host, launcher)
    for unit in UNITS.glob("fleetbox-watchdog.*"):
        host.put(f"/etc/systemd/system/{unit.name}", unit.read_bytes())
    host.exec(["systemctl", "daemon-reload"])
    host.exec(["systemctl", "enable", "--now", WATCHER])
    yield host
    lab.down(host)


@pytest.fixture
def host(booted: Host) -> Host:
    """With an old generation."""
    activate(booted, OLD)
    return booted


def verb(host: Host, *words: str, stdin: bytes = b"") -> Answer:
    done = host.exec([paths.HOST_PROGRAM, *words], data=stdin, check=False)
    answer: Answer = json.loads(done.stdout)
    assert done.returncode == 0, answer
    return answer


def activate(host: Host, built: Built, *more: str, narrows: bool = False) -> Answer:
    known = [] if narrows else ["--not-narrower-than", OLD.digest, "--not-narrower-than", NEW.digest]
    return verb(host, "activate", built.digest, "--bundle", "-", "--no-smoke", *known, *more, stdin=built.tar)


def goes_back(host: Host) -> Answer:
    """What the host says once nothing is on trial any more, without anybody asking it to do something."""
    deadline = time.monotonic() + 120
    while (said := verb(host, "status"))["pending"] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert said["pending"] is None, said
    return said


@pytest.mark.parametrize(
    ("restart", "narrows"),
    [
        pytest.param(Host.reboot, False, id="rebooted in order"),
        pytest.param(Host.cut_power, True, id="power cut, and the new generation narrows"),
    ],
)
def test_switched_off_before_it_was_confirmed_the_host_goes_back_by_itself(
    host: Host, restart: Callable[[Host], None], *, narrows: bool
) -> None:
    done = activate(host, NEW, "--confirm-within", "3600", narrows=narrows)
    assert done["watchdog"] == "unit"
    assert verb(host, "status")["digest"] == NEW.digest
    restart(host)
    said = goes_back(host)
    assert said["last_reversal"]["reason"] == "rebooted"
    assert said["last_reversal"]["generation"] == done["generation"]
    assert said["baseline"] is narrows
    assert (said["digest"] == OLD.digest) is not narrows


def test_what_was_confirmed_outlasts_a_power_cut_that_follows_at_once(host: Host) -> None:
    done = activate(host, NEW, "--confirm-within", "3600")
    verb(host, "confirm", str(done["generation"]), done["pending"]["nonce"])
    host.cut_power()
    said = verb(host, "status")
    assert (said["digest"], said["generation"], said["pending"]) == (NEW.digest, done["generation"], None)


def test_nobody_confirms_and_the_watchdog_is_killed_and_still_the_host_goes_back(host: Host) -> None:
    done = activate(host, NEW, "--confirm-within", "3")
    service = WATCHER.replace(".path", ".service")
    host.exec(["systemctl", "kill", "--signal=KILL", service])
    said = goes_back(host)
    assert (said["digest"], said["last_reversal"]["reason"]) == (OLD.digest, "unconfirmed")
    assert said["last_reversal"]["generation"] == done["generation"]


def test_the_power_fails_at_random_moments_of_an_activation(host: Host, show: Show) -> None:
    seed = time.time_ns() % 1_000_000
    chance = random.Random(seed)  # noqa: S311 - a seed that is printed is the point
    begin = time.monotonic()
    activate(host, NEW)
    cycle_s = time.monotonic() - begin
    ends = []
    for number in range(scaled(1, 15)):
        built, before = (OLD, NEW) if number % 2 == 0 else (NEW, OLD)
        words = [paths.HOST_PROGRAM, "activate", built.digest, "--bundle", "-", "--no-smoke"]
        known = ["--not-narrower-than", before.digest]
        with subprocess.Popen(
            host.exec_argv([*words, *known]), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as activating:
            assert activating.stdin
            activating.stdin.write(built.tar)
            activating.stdin.close()
            time.sleep(chance.uniform(0, 1.1 * cycle_s))
            host.cut_power()
            assert activating.stdout
            answered = activating.stdout.read().endswith(b"}\n")
        said = goes_back(host)
        assert said["digest"] in {built.digest} | (set() if answered else {before.digest})
        ends.append("answered" if answered else "new" if said["digest"] == built.digest else "old")
        assert activate(host, built)["digest"] == built.digest
    show(f"power cuts of a kernel during an activation (seed {seed}): {', '.join(ends)}")


YEARS = timedelta(days=365)


@pytest.fixture
def told(host: Host, tmp_path: Path) -> Iterator[Fleet]:
    """The host was told whom to trust, in the year in which that signs."""
    fleet = Fleet()
    (tmp_path / "etc/fleetbox").mkdir(parents=True)
    fleet.anchor(tmp_path)
    for file in (tmp_path / "etc/fleetbox").rglob("*.json"):
        host.exec(["install", "-d", f"/{file.parent.relative_to(tmp_path)}"])
        host.put(f"/{file.relative_to(tmp_path)}", file.read_bytes())
    set_clock(host, NOW)
    yield fleet
    host.exec(["rm", "-r", "/etc/fleetbox", paths.FLOOR, paths.TRUST])
    set_clock(host, datetime.now(NOW.tzinfo))


def set_clock(host: Host, time: datetime) -> None:
    host.exec(["date", "--utc", "--set", time.strftime("%Y-%m-%d %H:%M:%S")])


def deliver(host: Host, sent: Delivery, *more: str) -> Answer:
    """What the host answers to something signed, taken or refused."""
    argv = [paths.HOST_PROGRAM, "activate", "--delivery", "-", "--no-smoke", *more]
    answer: Answer = json.loads(host.exec(argv, data=delivery.write(sent), check=False).stdout)
    return answer


def test_a_clock_that_is_years_off_ends_no_trial_and_lets_nothing_old_in(host: Host, told: Fleet) -> None:
    releases = [told.release(number) for number in (1, 2, 3)]
    first = told.assign(releases[0], 1)
    assert deliver(host, first)["digest"] == releases[0].built.digest
    trial = deliver(host, told.assign(releases[1], 2), "--confirm-within", "600")
    for wrong in (NOW + 25 * YEARS, NOW - 25 * YEARS):
        set_clock(host, wrong)
        time.sleep(2.5)  # the watchdog looks every second
        assert verb(host, "status")["pending"]["generation"] == trial["generation"]
    verb(host, "confirm", str(trial["generation"]), trial["pending"]["nonce"])

    assert deliver(host, first)["error"]["code"] == "rolled_back_metadata"
    good = told.assign(releases[2], 3)
    told.policy.expire("timestamp", NOW - timedelta(days=1))
    told.policy.publish()
    assert deliver(host, told.delivery(releases[2]))["error"]["code"] == "expired"
    set_clock(host, NOW + 25 * YEARS)
    refused = deliver(host, good)["error"]
    assert (refused["code"], "clock" in refused["message"]) == ("expired", True), refused
    assert verb(host, "status")["digest"] == releases[1].built.digest
    set_clock(host, NOW)
    assert deliver(host, good)["digest"] == releases[2].built.digest
