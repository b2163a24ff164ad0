"""Hosts with systemd as pid 1: units, timers and logind are the real ones, with and without an own kernel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec

pytestmark = pytest.mark.host

UNIT = b"""
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo ran >> /srv/runs'
"""
TIMER = b"""
[Timer]
OnActiveSec=0
AccuracySec=1ms
[Install]
WantedBy=timers.target
"""


@pytest.fixture(scope="module")
def host(lab: Lab) -> Iterator[Host]:
    [host] = lab.up(HostSpec.of("systemd", kind="systemd"))
    yield host
    lab.down(host)


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not (done := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return done


def arm_timer(host: Host) -> None:
    host.put("/etc/systemd/system/once.service", UNIT)
    host.put("/etc/systemd/system/once.timer", TIMER)
    host.exec(["systemctl", "enable", "--now", "once.timer"])


def runs(host: Host) -> int:
    return host.exec(["cat", "/srv/runs"], check=False).stdout.count(b"ran")


def test_it_is_up_whole_and_runs_services_and_timers(host: Host) -> None:
    assert host.processes()[0].strip() == "/sbin/init"
    state = host.exec(["systemctl", "is-system-running", "--wait"], check=False).stdout
    assert state == b"running\n", host.exec(["systemctl", "--failed"]).stdout.decode()
    arm_timer(host)
    assert eventually(lambda: runs(host) == 1)
    assert "Server listening on 0.0.0.0 port 22." in host.log()


def test_a_login_has_a_runtime_directory_that_goes_with_it(host: Host) -> None:
    said = host.ssh(["sh", "-c", "echo $XDG_RUNTIME_DIR; stat -c %U:%a $XDG_RUNTIME_DIR"]).stdout
    assert said == b"/run/user/1000\ndev:700\n"
    assert eventually(lambda: host.exec(["ls", "/run/user"]).stdout == b"")
    host.ssh(["sudo", "loginctl", "enable-linger", "dev"])
    assert eventually(lambda: host.exec(["ls", "/run/user"]).stdout == b"1000\n"), "lingering"


def test_a_user_gets_a_control_group_to_limit(host: Host) -> None:
    host.ssh(["sudo", "loginctl", "enable-linger", "dev"])
    ask = ["systemd-run", "--user", "--quiet", "--pipe", "--wait", "cat", "/proc/self/cgroup"]
    assert b"/user.slice/user-1000.slice/user@1000.service/" in host.ssh(ask).stdout


def test_what_is_enabled_comes_back_after_a_reboot_of_an_own_kernel(lab: Lab) -> None:
    [host] = lab.up(HostSpec.of("systemd-kernel", kind="uml-systemd"))
    try:
        arm_timer(host)
        assert eventually(lambda: runs(host) == 1)
        host.reboot()
        assert eventually(lambda: runs(host) == 2)
    finally:
        lab.down(host)
