"""A host is a real machine to everything that reaches it: sshd, sudo, apt, namespaces, and no way out."""

from __future__ import annotations

import errno
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hosts import network
from tests.support.hosts.changes import Change, Kind
from tests.support.hosts.fixtures import MakeHost
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec

pytestmark = pytest.mark.host

SANDBOX = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
ANSIBLE = Path(sys.executable).parent / "ansible"


def test_dev_logs_in_with_its_key_and_becomes_root(make_host: MakeHost) -> None:
    host = make_host("plain")
    assert host.ssh(["id", "-un"]).stdout == b"dev\n"
    assert host.ssh(["sudo", "-n", "id", "-un"]).stdout == b"root\n"
    assert host.ssh(["hostname"]).stdout == b"plain\n"


def test_words_with_spaces_and_quotes_arrive_as_they_left(make_host: MakeHost) -> None:
    words = ["a b", "c'd", "$HOME", ""]
    assert make_host().ssh(["printf", "%s|", *words]).stdout == b"a b|c'd|$HOME||"


def test_root_may_not_log_in(make_host: MakeHost, lab: Lab) -> None:
    host = make_host()
    ssh = ["ssh", "-F", str(lab.ssh_config), "-l", "root", host.name, "true"]
    refused = lab.controller(ssh, capture_output=True, text=True)
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


def test_a_host_with_another_key_is_not_trusted(make_host: MakeHost, lab: Lab) -> None:
    host, other = make_host(), make_host()
    known = lab.known_hosts.read_text().replace(other.address + " ", "10.66.255.1 ")
    lines = [line.replace(host.address + " ", other.address + " ") for line in known.splitlines()]
    lab.known_hosts.write_text("\n".join(lines) + "\n")
    refused = other.ssh(["true"], check=False)
    assert refused.returncode == 255
    assert b"REMOTE HOST IDENTIFICATION HAS CHANGED" in refused.stderr


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_bubblewrap_installs_over_the_proxy_and_nests(make_host: MakeHost, suite: str) -> None:
    host = make_host(suite=suite)
    host.ssh(["sudo", "apt-get", "-q", "update"])
    host.ssh(["sudo", "apt-get", "-q", "install", "-y", "bubblewrap"])
    assert host.ssh([*SANDBOX, *SANDBOX, "id", "-un"]).stdout == b"dev\n"


def test_the_controller_reaches_every_host_with_ansible(lab: Lab, make_host: MakeHost) -> None:
    hosts = [make_host(), make_host(suite="trixie", groups=["new"], variables={"colour": "green"})]
    ping = [str(ANSIBLE), "-i", str(lab.inventory), "-m", "ping", ":".join(host.name for host in hosts)]
    done = lab.controller(ping, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    show = [str(ANSIBLE), "-i", str(lab.inventory), "-m", "debug", "-a", "var=colour", "new"]
    assert "green" in lab.controller(show, capture_output=True, text=True).stdout


def test_root_of_a_host_changes_its_own_limits_and_never_the_machines(make_host: MakeHost) -> None:
    machine = Path("/proc/sys/user/max_user_namespaces")
    before = machine.read_text()
    host = make_host()
    host.exec(["sh", "-c", "echo 0 > /proc/sys/user/max_user_namespaces"])
    assert host.get("/proc/sys/user/max_user_namespaces") == b"0\n"
    assert machine.read_text() == before
    for command in ("echo 1 > /proc/sys/kernel/panic", "mknod /tmp/sda b 8 0"):
        assert host.exec(["sh", "-c", command], check=False).returncode != 0


def test_a_command_starts_in_the_hosts_own_root(make_host: MakeHost) -> None:
    host = make_host()
    host.exec(["touch", "/only-here"])
    assert host.exec(["ls", "only-here"]).stdout == b"only-here\n"


def test_the_harness_leaves_the_hosts_files_alone(make_host: MakeHost) -> None:
    host = make_host()
    host.ssh(["sudo", "true"])
    host.exec(["true"])
    assert host.overlay_diff() == []


def test_every_kind_of_change_shows_with_its_type(make_host: MakeHost) -> None:
    host = make_host()
    host.exec(["ln", "-s", "/etc", "/srv/link"])
    host.exec(["mkdir", "/srv/folder"])
    host.exec(["rm", "-r", "/etc/hostname", "/etc/skel"])
    host.exec(["chmod", "600", "/etc/hosts"])
    host.put("/etc/issue", b"changed")
    assert host.overlay_diff() == [
        Change("/etc/hostname", Kind.REMOVED, "file"),
        Change("/etc/hosts", Kind.MODIFIED, "file"),
        Change("/etc/issue", Kind.MODIFIED, "file"),
        Change("/etc/skel", Kind.REMOVED, "folder"),
        Change("/srv/folder", Kind.ADDED, "folder"),
        Change("/srv/link", Kind.ADDED, "link"),
    ]


def test_a_folder_made_anew_shows_as_modified(make_host: MakeHost) -> None:
    host = make_host()
    host.exec(["sh", "-c", "rm -r /etc/skel && mkdir /etc/skel"])
    assert host.overlay_diff() == [Change("/etc/skel", Kind.MODIFIED, "folder")]


def test_a_file_rewritten_as_it_was_is_no_change(make_host: MakeHost) -> None:
    host = make_host()
    host.exec(["sh", "-c", "cp /etc/issue /run/kept && cat /run/kept > /etc/issue && touch /etc/issue"])
    assert host.overlay_diff() == []


def test_what_is_put_comes_back_with_its_mode_and_owner(make_host: MakeHost) -> None:
    host = make_host()
    data = bytes(range(256)) * 300
    host.put("/srv/new/data", data, mode=0o640, owner="dev")
    assert host.get("/srv/new/data") == data
    assert host.exec(["stat", "-c", "%U %a", "/srv/new/data"]).stdout == b"dev 640\n"


def test_an_unplugged_host_is_unreachable_until_it_is_plugged_in(make_host: MakeHost, lab: Lab) -> None:
    host = make_host()
    ssh = ["ssh", "-F", str(lab.ssh_config), "-o", "ConnectTimeout=1", host.name, "true"]
    host.link_down()
    assert lab.controller(ssh, capture_output=True).returncode == 255
    host.link_up()
    assert host.ssh(["true"]).returncode == 0


@pytest.mark.parametrize("what", ["bytes", "inodes"])
def test_a_full_disk_answers_enospc(make_host: MakeHost, what: str) -> None:
    host = make_host(disk="2m/64")
    host.fill(what)  # type: ignore[arg-type]
    attempt = ["sudo", "python3", "-c", "open('/var/lib/fleetbox/more', 'wb', 0).write(b'x')"]
    assert f"[Errno {errno.ENOSPC}]".encode() in host.ssh(attempt, check=False).stderr
    host.unfill()
    host.ssh(attempt)


def test_nothing_but_the_lab_is_reachable(make_host: MakeHost) -> None:
    host = make_host()
    with socket.create_server((_address_of_this_machine(), 0)) as listening:
        address, port = listening.getsockname()
        socket.create_connection((address, port), timeout=1).close()
        assert not _reaches(host, address, port)
    assert _reaches(host, network.GATEWAY, network.PROXY_PORT)


@pytest.mark.parametrize(
    "path",
    [
        "http://192.0.2.1/debian/dists/stable/InRelease",
        "http://deb.example.org/debian/",
        "{mirror}../secret",
        "file:///etc/shadow",
    ],
)
def test_the_proxy_serves_the_machines_archive_only(make_host: MakeHost, path: str) -> None:
    host = make_host()
    archive = host.get("/etc/apt/sources.list").split()[1].decode()
    request = f"GET {path.format(mirror=archive)} HTTP/1.0\\r\\n\\r\\n"
    ask = f"exec 3<>/dev/tcp/{network.GATEWAY}/{network.PROXY_PORT}; printf '{request}' >&3; head -1 <&3"
    assert b" 403 " in host.exec(["bash", "-c", ask]).stdout


def test_five_hosts_come_up_side_by_side_with_addresses_of_their_own(lab: Lab) -> None:
    hosts = lab.up(*(HostSpec.of(f"many{index}") for index in range(5)))
    try:
        assert len({host.address for host in hosts}) == 5
        assert {_machine_id(host) for host in hosts} == {
            host.ssh(["cat", "/etc/machine-id"]).stdout for host in hosts
        }
    finally:
        lab.down(*hosts)
    assert not {host.name for host in lab.hosts()} & {host.name for host in hosts}


def test_processes_are_those_of_the_host_and_no_others(make_host: MakeHost) -> None:
    processes = make_host().processes()
    assert processes[0].startswith("sshd: /usr/sbin/sshd -D")
    assert not any("pytest" in line for line in processes)


def test_programs_of_a_host_die_of_a_broken_pipe(make_host: MakeHost) -> None:
    ignored = make_host().ssh(["grep", "SigIgn", "/proc/self/status"]).stdout.split()[1]
    assert not int(ignored, 16) >> (signal.SIGPIPE - 1) & 1


def test_the_suite_is_what_was_asked_for(make_host: MakeHost) -> None:
    release = make_host(suite="trixie").ssh(["cat", "/etc/os-release"]).stdout
    assert b"VERSION_CODENAME=trixie" in release


def test_a_command_that_fails_says_so(make_host: MakeHost) -> None:
    host = make_host()
    with pytest.raises(subprocess.CalledProcessError):
        host.ssh(["false"])
    assert host.exec(["sh", "-c", "exit 7"], check=False).returncode == 7


def _machine_id(host: Host) -> bytes:
    return host.get("/etc/machine-id")


def _reaches(host: Host, address: str, port: int) -> bool:
    attempt = ["timeout", "1", "bash", "-c", f": < /dev/tcp/{address}/{port}"]
    return host.exec(attempt, check=False).returncode == 0


def _address_of_this_machine() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.2"
        return str(probe.getsockname()[0])
