"""A host with real logins: logind makes /run/user and takes it away again, whoever still works."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import WORKSPACE, Provisioned, provisioned

pytestmark = pytest.mark.host

POLICIES = {"main": "", "stricter": "filesystem: {protect: [.extra]}\n"}
RUNS_ON = f"""
export XDG_RUNTIME_DIR=/run/user/1000
test -d $XDG_RUNTIME_DIR && cd {WORKSPACE} || exit 3
setsid {paths.LAUNCHER} -- sh -c '
  touch ready; until [ -e go ]; do sleep 0.05; done
  ls -A /run/user > said 2>&1; mkdir .codex/x; touch .git/x; echo made >> said' < /dev/null > /dev/null 2>&1 &
until [ -e ready ]; do sleep 0.05; done"""


@pytest.fixture(scope="module")
def box(lab: Lab, launcher: Path) -> Iterator[Provisioned]:
    with provisioned(lab, launcher, HostSpec.of("logins", kind="systemd")) as [box]:
        box.activate(POLICIES)
        yield box


def logins(box: Provisioned) -> str:
    return box.change("ls -A /run/user")


def test_a_logout_takes_nothing_from_a_sandbox_that_goes_on(
    box: Provisioned, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    """Started by cron, say: a process of the login itself would keep the login."""
    box.host.ssh(["sudo", "loginctl", "enable-linger", "dev"])
    eventually(lambda: logins(box) == "1000\n")
    assert box.run("sh", "-c", RUNS_ON).returncode == 0
    box.host.ssh(["sudo", "loginctl", "disable-linger", "dev"])
    eventually(lambda: logins(box) == "")
    other = box.launch("touch", "ran", policy="stricter")
    assert other.returncode == 125, "its locks outlive the login"
    assert "main" in other.stderr
    assert box.run("ls", "-A", WORKSPACE).stdout.split() != ["ready"], "it still holds its mountpoints"
    box.run("touch", f"{WORKSPACE}/go")
    eventually(lambda: "made" in box.run("cat", f"{WORKSPACE}/said").stdout)
    eventually(lambda: box.run("ls", "-A", WORKSPACE).stdout.split() == ["go", "ready", "said"])
    assert box.launch("true", policy="stricter").returncode == 0


def test_no_sandbox_reaches_the_sockets_of_a_login(box: Provisioned) -> None:
    ask = "import socket; socket.socket(socket.AF_UNIX).connect('/run/user/1000/bus'); print('reached')"
    outside = box.host.ssh(["python3", "-c", ask])
    assert outside.stdout == b"reached\n"
    inside = box.host.ssh(
        ["sh", "-c", f'cd {WORKSPACE}; {paths.LAUNCHER} -- python3 -c "{ask}"'], check=False
    )
    assert inside.returncode == 1, inside
    assert b"reached" not in inside.stdout


def test_a_lingering_user_launches_without_a_login(box: Provisioned) -> None:
    box.host.ssh(["sudo", "loginctl", "enable-linger", "dev"])
    ask = ["systemd-run", "--user", "--quiet", "--pipe", "--wait", f"--working-directory={WORKSPACE}"]
    done = box.host.ssh([*ask, paths.LAUNCHER, "--", "sh", "-c", "echo in; exit 7"], check=False)
    assert (done.returncode, done.stdout) == (7, b"in\n"), done
