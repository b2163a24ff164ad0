"""A lab disturbs nobody while it is up and leaves nothing when it goes, whatever ended it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.hosts import traces
from tests.support.hosts import cleanup
from tests.support.hosts.errors import HostsError
from tests.support.hosts.lab import Lab
from tests.support.hosts.processes import Process
from tests.support.hosts.spec import HostSpec
from tests.support.hosts.start import REPOSITORY
from tests.support.hosts.state import LabState, every_lab

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("needs_hosts")]

OWNER = """
import signal, sys
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
with Lab.create(sys.argv[1]) as lab:
    lab.up(*map(HostSpec.parse, ["one", "two=trixie", "init,kind=systemd", "kernel,kind=uml"]))
    print(lab.name, flush=True)
    signal.pause()
"""
HOSTS = [sys.executable, "-m", "tests.support.hosts"]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"x{os.getpid()}-{abs(hash(request.node.name)) % 10**6}"


@contextmanager
def _owned_by_another_process(name: str) -> Iterator[subprocess.Popen[str]]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, name], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout
        assert owner.stdout.readline() == f"{name}\n"
        try:
            yield owner
        finally:
            owner.kill()


def _hosts(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HOSTS, *argv], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
    )


def test_closing_leaves_nothing(name: str) -> None:
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, check=True).stdout
    with Lab.create(name) as lab:
        network = traces.network_of(lab)
        [host] = lab.up(HostSpec.of("one"))
        host.ssh(["true"])
        assert traces.of(name, network)
        assert subprocess.run(["ip", "-o", "link"], capture_output=True, check=True).stdout == links
    assert traces.of(name, network) == []


def test_an_exception_leaves_nothing(name: str) -> None:
    with pytest.raises(HostsError, match="no host two"), Lab.create(name) as lab:  # noqa: PT012
        lab.up(HostSpec.of("one"))
        lab.host("two")
    assert traces.of(name) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_owner_leaves_nothing(name: str, number: signal.Signals) -> None:
    with _owned_by_another_process(name) as owner:
        network = traces.network_of(Lab.open(name))
        owner.send_signal(number)
        owner.wait(20)
    assert traces.after(name, network) == []


def test_a_killed_keeper_takes_its_hosts_along_and_the_next_lab_removes_the_folder(name: str) -> None:
    with _owned_by_another_process(name):
        lab = Lab.open(name)
        network = traces.network_of(lab)
        init = lab.host("one").init
        keeper = Process.read(lab.state.keeper)
        assert keeper
        keeper.signal(signal.SIGKILL)
        assert init.wait(5)
        assert lab.state.path.exists()
        Lab.create(f"{name}-next").close()
        assert traces.after(name, network) == []


def test_a_killed_warden_takes_its_host_along(name: str) -> None:
    with Lab.create(name) as lab:
        one, two = lab.up(HostSpec.of("one"), HostSpec.of("two"))
        init = one.init
        warden = Process.read(one.state.warden)
        assert warden
        warden.signal(signal.SIGKILL)
        assert init.wait(5)
        assert two.ssh(["true"]).returncode == 0
        lab.down(one)
        lab.up(HostSpec.of("one"))
    assert traces.of(name) == []


def test_connection_masters_end_with_the_lab(name: str) -> None:
    with Lab.create(name) as lab:
        network = traces.network_of(lab)
        [host] = lab.up(HostSpec.of("one"))
        persist = ["-o", "ControlMaster=auto", "-o", "ControlPersist=600"]
        path = ["-o", f"ControlPath={lab.state.control_paths}/%h"]
        ssh = ["ssh", "-F", str(lab.ssh_config), *persist, *path, host.name, "true"]
        lab.controller(ssh, check=True, stderr=subprocess.DEVNULL)
        assert list(lab.state.control_paths.iterdir())
    assert traces.after(name, network) == []


def test_what_a_controller_left_running_ends_with_the_lab(name: str) -> None:
    with Lab.create(name) as lab:
        network = traces.network_of(lab)
        lab.controller(["sh", "-c", "sleep 600 &"], check=True)
        assert traces.of(name, network)
    assert traces.of(name, network) == []


def test_a_lab_whose_folder_was_taken_away_still_closes(name: str) -> None:
    with Lab.create(name) as lab:
        network = traces.network_of(lab)
        shutil.rmtree(lab.state.path)
    assert traces.after(name, network) == []


def test_two_labs_with_the_same_addresses_do_not_meet(name: str) -> None:
    with Lab.create(f"{name}-a") as first, Lab.create(f"{name}-b") as second:
        [here] = first.up(HostSpec.of("here"))
        [there] = second.up(HostSpec.of("there"))
        assert here.address == there.address
        assert (here.ssh(["hostname"]).stdout, there.ssh(["hostname"]).stdout) == (b"here\n", b"there\n")


def test_a_name_is_taken_once_and_the_first_keeps_it(name: str) -> None:
    with Lab.create(name) as lab:
        [host] = lab.up(HostSpec.of("one"))
        with pytest.raises(HostsError, match="already"):
            Lab.create(name)
        with pytest.raises(HostsError, match="already"):
            lab.up(HostSpec.of("new"), HostSpec.of("one"))
        assert [one.name for one in lab.hosts()] == ["one"]
        assert host.ssh(["true"]).returncode == 0


def test_a_host_that_cannot_start_says_why_and_leaves_the_lab_usable(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lab.create(name) as lab:
        with monkeypatch.context() as broken:
            broken.setattr("tests.support.hosts.hooks.prepare_binds", lambda *_: None)
            with pytest.raises(HostsError, match="No such file or directory"):
                lab.up(HostSpec.of("one", hooks=["wsl1"]))
        assert lab.hosts() == []
        [host] = lab.up(HostSpec.of("one"))
        assert host.address == "10.66.1.2"


def test_a_sweep_leaves_running_and_unborn_labs_alone(name: str) -> None:
    unborn = LabState.named(f"{name}-unborn")
    unborn.path.mkdir(mode=0o700)
    try:
        with Lab.create(name) as lab:
            cleanup.sweep()
            assert {lab.state, unborn} <= set(every_lab())
            assert lab.state.kept()
    finally:
        unborn.path.rmdir()


def test_a_lab_made_on_the_command_line_stays_until_down(name: str) -> None:
    up = _hosts("up", name, "web", "gpu=trixie,gpu=nvidia")
    try:
        assert up.returncode == 0, up.stderr
        assert up.stdout == f"{LabState.named(name).inventory}\n"
        assert f"{name}\n" in _hosts("list").stdout
        assert _hosts("exec", name, "web", "--", "id", "-un").stdout == "root\n"
        assert _hosts("ssh", name, "gpu", "--", "id", "-un").stdout == "dev\n"
        inside = _hosts("controller", name, "--", *HOSTS, "up", name, "late")
        assert inside.returncode == 0, inside.stderr
        assert _hosts("ssh", name, "late", "--", "hostname").stdout == "late\n"
        assert _hosts("down", name, "web").returncode == 0
        assert [host.name for host in Lab.open(name).hosts()] == ["gpu", "late"]
    finally:
        down = _hosts("down", name)
    assert down.returncode == 0, down.stderr
    assert traces.after(name) == []


def test_a_lab_with_an_owner_goes_down_with_it(name: str) -> None:
    with subprocess.Popen(["sleep", "600"]) as owner:
        assert _hosts("up", name, "web", "--owner", str(owner.pid)).returncode == 0
        assert LabState.named(name).kept()
        owner.kill()
    assert traces.after(name) == []


def test_up_that_is_stopped_half_way_leaves_nothing(name: str) -> None:
    with subprocess.Popen(
        [*HOSTS, "up", name, "one", "two"], cwd=REPOSITORY, stderr=subprocess.DEVNULL
    ) as up:
        while not LabState.named(name).keeper.exists() and up.poll() is None:
            pass
        up.kill()
    assert traces.after(name) == []


@pytest.mark.parametrize(
    "word",
    [
        *("UPPER", "web=hamm", "web,gpu=voodoo", "web,disk=full", "web,wsl1,wsl2", "web,x=1"),
        *("web,apparmor=ubuntu", "web,kind=uml,apparmor=none-such"),
        *("web,kind=real", "web,sysctl=kernel.panic=1", "web,kind=systemd,sysctl=kernel.panic=1"),
        *(f"web,kind=uml,{word}" for word in ("wsl1", "gpu=dxg", "disk=2m/64", "userns=EINVAL")),
        *("web,boot=quiet", "web,kind=qemu,gpu=dxg"),
    ],
)
def test_a_host_that_cannot_be_is_named_in_one_line(name: str, word: str) -> None:
    refused = _hosts("up", name, word)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert refused.stderr.startswith("hosts: ")
    assert traces.of(name) == []
