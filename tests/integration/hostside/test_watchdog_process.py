"""The watchdog of hosts without systemd: a process that nobody waits for; without it, the next command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.integration.hostside.trials import (
    FOREVER,
    NEW,
    OLD,
    activate,
    ask,
    cron_command,
    eventually,
    has_gone_back,
    must_go_back,
    on_trial,
)
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import provisioned

pytestmark = pytest.mark.host

# The pattern does not match the shell that has it among its words.
WATCHERS = "grep -lz '^watch[d]og$' /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3"
OVER = r"""sed -i 's/"since": [0-9.]*/"since": 0.0/; s/"until": [0-9.]*/"until": 0.5/' """ + paths.PENDING


@pytest.fixture(scope="module")
def host(lab: Lab, launcher: Path) -> Iterator[Host]:
    with provisioned(lab, launcher, HostSpec.of("unwatched")) as [box]:
        yield box.host


def watchers(host: Host) -> list[str]:
    return host.exec(["sh", "-c", WATCHERS]).stdout.decode().split()


def left_alone(host: Host) -> None:
    """Its time is over and its watchdog killed."""
    on_trial(host, FOREVER)
    host.exec(["kill", "-KILL", *watchers(host)])
    eventually(lambda: not watchers(host), "it does not die")
    host.exec(["sh", "-euc", OVER])


def test_a_host_goes_back_after_the_connection_that_activated_has_ended(host: Host) -> None:
    activate(host, OLD)
    eventually(lambda: not watchers(host), "what needs no confirmation is watched")
    argv = ["sudo", "-n", paths.HOST_PROGRAM, "activate", NEW.digest, "--bundle", "-", "--no-smoke"]
    done = host.ssh(
        [*argv, "--confirm-within", "2", "--not-narrower-than", OLD.digest], data=NEW.tar, timeout=30
    )
    assert b'"watchdog": "process"' in done.stdout
    assert len(watchers(host)) == 1, "it ended with the connection"
    must_go_back(host)
    eventually(lambda: not watchers(host), "it goes on")


def test_a_host_goes_back_after_the_terminal_that_activated_was_closed(host: Host) -> None:
    """Which hangs up on everything that was started in it."""
    activate(host, OLD)
    host.put("/root/new.tar", NEW.tar)
    words = f"{paths.HOST_PROGRAM} activate {NEW.digest} --bundle - --no-smoke --confirm-within 2"
    command = f"{words} --not-narrower-than {OLD.digest} </root/new.tar"
    host.exec(["script", "--quiet", "--return", "--command", command, "/dev/null"])
    assert len(watchers(host)) == 1, "it ended with the terminal"
    must_go_back(host)


def test_its_watchdog_ends_when_somebody_confirms(host: Host) -> None:
    trial = on_trial(host, FOREVER)
    ask(host, "confirm", str(trial["generation"]), trial["pending"]["nonce"])
    eventually(lambda: not watchers(host), "it goes on")
    assert ask(host, "status")["digest"] == NEW.digest


@pytest.mark.parametrize("verb", ["watchdog", "gc"])
def test_with_its_watchdog_killed_the_next_command_goes_back(host: Host, verb: str) -> None:
    left_alone(host)
    ask(host, verb, *(["--once"] if verb == "watchdog" else []))
    has_gone_back(host)


def test_with_its_watchdog_killed_a_late_confirmation_goes_back_and_says_so(host: Host) -> None:
    left_alone(host)
    said = ask(host, "confirm", str(ask(host, "status")["generation"]), "0" * 32)
    assert said["error"]["code"] == "too_late"
    has_gone_back(host)


def test_with_its_watchdog_killed_the_next_activation_starts_from_what_it_went_back_to(host: Host) -> None:
    left_alone(host)
    assert activate(host, OLD)["changed"] is False
    has_gone_back(host)


def test_what_cron_runs_at_boot_goes_back(host: Host) -> None:
    left_alone(host)
    host.exec(["sh", "-c", cron_command()])
    has_gone_back(host)
    host.exec(["sh", "-c", cron_command()])
