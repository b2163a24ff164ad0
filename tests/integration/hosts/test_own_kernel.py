"""A host with a kernel to itself: what root writes there stays there, and it can restart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts.errors import HostsError
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec

pytestmark = pytest.mark.host

USER_NAMESPACE = ["unshare", "--user", "--map-root-user", "true"]


KINDS = [
    pytest.param(("uml", "bookworm"), id="uml"),
    pytest.param(("qemu", "trixie"), id="qemu", marks=pytest.mark.emulated),
]


@pytest.fixture(scope="module", params=KINDS)
def host(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Host]:
    kind, suite = request.param
    [host] = lab.up(HostSpec.of("kernel", kind=kind, suite=suite, sysctls={"kernel.panic": "7"}))
    yield host
    lab.down(host)


def test_it_is_reached_like_every_host(host: Host) -> None:
    assert host.ssh(["sudo", "-n", "id", "-un"]).stdout == b"root\n"
    assert host.ssh(["hostname"]).stdout == b"kernel\n"
    assert host.ssh(["printf", "%s|", "a b", "c'd", ""]).stdout == b"a b|c'd||"
    assert host.exec(["sh", "-c", "exit 7"], check=False).returncode == 7
    assert b"X=y" in host.exec(["env"], env={"X": "y"}).stdout.split()
    assert host.processes()[0].startswith("sshd: /usr/sbin/sshd -D")


def test_what_is_put_comes_back_with_its_mode_and_owner(host: Host) -> None:
    data = bytes(range(256)) * 300
    host.put("/srv/new/data", data, mode=0o640, owner="dev")
    assert host.get("/srv/new/data") == data
    assert host.exec(["stat", "-c", "%U %a", "/srv/new/data"]).stdout == b"dev 640\n"


def test_its_kernel_is_its_own_down_to_the_sysctls(host: Host) -> None:
    machine = Path("/proc/sys/kernel/panic")
    before = machine.read_text()
    assert host.get("/proc/sys/kernel/panic") == b"7\n", "set at boot"
    host.exec(["sh", "-c", "echo 9 > /proc/sys/kernel/panic"])
    assert host.get("/proc/sys/kernel/panic") == b"9\n"
    assert machine.read_text() == before
    assert host.get("/proc/sys/kernel/osrelease").decode().strip() != os.uname().release
    assert b"apparmor" in host.get("/sys/kernel/security/lsm")


def test_its_root_is_nobody_on_this_machine(host: Host) -> None:
    status = Path(f"/proc/{host.init.pid}/status").read_text()
    assert "Uid:\t100000\t100000\t100000\t100000\n" in status
    assert "CapEff:\t0000000000000000\n" in status
    assert "CapPrm:\t0000000000000000\n" in status


def test_a_setting_refuses_user_namespaces_to_users_only(host: Host) -> None:
    assert host.ssh(USER_NAMESPACE, check=False).returncode == 0
    host.exec(["sysctl", "-qw", "kernel.unprivileged_userns_clone=0"])
    refused = host.ssh(USER_NAMESPACE, check=False)
    assert refused.returncode != 0
    assert b"Operation not permitted" in refused.stderr
    assert host.exec(USER_NAMESPACE, check=False).returncode == 0
    host.exec(["sysctl", "-qw", "kernel.unprivileged_userns_clone=1"])


def test_a_reboot_keeps_the_disk_and_nothing_else(host: Host) -> None:
    host.exec(["sh", "-c", "echo kept > /srv/kept; echo gone > /run/gone"])
    host.exec(["sh", "-c", "echo kernel.panic=11 > /etc/sysctl.d/60-test.conf"])
    boot = host.get("/proc/sys/kernel/random/boot_id")
    host.reboot()
    assert host.get("/srv/kept") == b"kept\n"
    assert host.exec(["test", "-e", "/run/gone"], check=False).returncode == 1
    assert host.get("/proc/sys/kernel/random/boot_id") != boot
    assert host.get("/proc/sys/kernel/panic") == b"11\n", "what is written down holds again"
    assert host.ssh(["hostname"]).stdout == b"kernel\n"


def test_a_power_cut_loses_what_was_not_synced(host: Host) -> None:
    host.exec(["sh", "-c", "echo synced > /srv/synced; sync; echo lost > /srv/lost"])
    host.cut_power()
    assert host.get("/srv/synced") == b"synced\n"
    assert host.exec(["cat", "/srv/lost"], check=False).stdout == b""


def test_an_unplugged_host_is_unreachable_until_it_is_plugged_in(host: Host, lab: Lab) -> None:
    ssh = ["ssh", "-F", str(lab.ssh_config), "-o", "ConnectTimeout=1", host.name, "true"]
    host.link_down()
    assert lab.controller(ssh, capture_output=True).returncode == 255
    host.link_up()
    assert host.ssh(["true"]).returncode == 0


def test_what_this_kind_cannot_do_is_said(host: Host) -> None:
    with pytest.raises(HostsError, match="a disk, not an overlay"):
        host.overlay_diff()


def test_its_port_goes_with_it_and_its_address_is_free_again(lab: Lab) -> None:
    ports = ["ip", "-o", "link", "show", "type", "tun"]
    before = lab.controller(ports, capture_output=True).stdout
    [one] = lab.up(HostSpec.of("brief", kind="uml"))
    address = one.address
    lab.down(one)
    assert lab.controller(ports, capture_output=True).stdout == before
    [again] = lab.up(HostSpec.of("again"))
    assert again.address == address
    lab.down(again)
