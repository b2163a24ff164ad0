"""What a push leaves behind when it cannot be confirmed, or when another one comes between."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.push.conftest import REPO, Fleet

pytestmark = pytest.mark.host

OFFLINE = str(REPO / "policies/offline.yml")
READ_ONLY = str(REPO / "policies/read-only.yml")
BASE = str(REPO / "policies/base.yml")
PENDING = "/var/lib/fleetbox/pending.json"
PATIENCE_S = 60.0
KEYS = "/home/dev/.ssh/authorized_keys"
# As soon as a trial begins, long before its checks have passed, nobody can log in any more; who is in stays.
DEAF = f"until [ -e {PENDING} ]; do sleep 0.01; done; mv {KEYS} {KEYS}.away"


@contextmanager
def deaf(fleet: Fleet) -> Iterator[None]:
    """A host that lets nobody in from the moment in which an activation is on trial there."""
    with subprocess.Popen(fleet.plain.exec_argv(["sh", "-c", DEAF])) as waiting:
        try:
            yield
        finally:
            waiting.kill()
            fleet.plain.exec(["mv", f"{KEYS}.away", KEYS], check=False)


@pytest.fixture
def start(fleet: Fleet) -> Iterator[str]:
    """The host enforces `base`; the place in the store."""
    code, hosts = fleet.push(BASE, "-l", "plain", "--no-verify", "--clear-quarantine")
    assert code == 0, hosts
    yield fleet.current()[1]
    code, hosts = fleet.push(BASE, "-l", "plain", "--no-verify", "--clear-quarantine")
    assert code == 0, hosts


def wait_until_settled(fleet: Fleet) -> None:
    end = time.monotonic() + PATIENCE_S
    while fleet.plain.exec(["test", "-e", PENDING], check=False).returncode == 0:
        assert time.monotonic() < end, "the watchdog did not go back"
        time.sleep(0.2)


def status(fleet: Fleet) -> "dict[str, object]":
    return dict(json.loads(fleet.plain.exec(["/usr/local/bin/fleetbox-host", "status"]).stdout))


def wider(tmp_path: Path) -> str:
    path = tmp_path / "base.yml"
    path.write_text(
        "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {name: base}\n"
        "extends: [base]\nenvironment: {pass: [EDITOR]}\n"
    )
    return str(path)


def test_a_push_that_cannot_be_confirmed_is_taken_back_by_the_host_itself(
    fleet: Fleet, start: str, tmp_path: Path
) -> None:
    with deaf(fleet):
        code, hosts = fleet.push(wider(tmp_path), "-l", "plain", "--no-verify", "--confirm-within", "10")
        assert (code, hosts["plain"]["outcome"]) == (5, "unconfirmed"), hosts
        assert "goes back by itself" in hosts["plain"]["message"]
        wait_until_settled(fleet)
    assert fleet.current()[1] == start
    told = status(fleet)["last_reversal"]
    assert isinstance(told, dict)
    assert told["reason"] == "unconfirmed"


def test_a_narrower_policy_that_cannot_be_confirmed_leaves_the_strictest_baseline(
    fleet: Fleet, start: str
) -> None:
    with deaf(fleet):
        code, hosts = fleet.push(READ_ONLY, "-l", "plain", "--no-verify", "--confirm-within", "10")
        assert (code, hosts["plain"]["outcome"]) == (5, "unconfirmed"), hosts
        wait_until_settled(fleet)
    assert status(fleet)["baseline"] is True
    assert status(fleet)["default_policy"] == "baseline"
    assert fleet.current()[1] != start


def test_in_the_baseline_a_workload_sees_nothing_and_can_change_nothing(fleet: Fleet, start: str) -> None:
    """On the host, by its launcher: the fallback is a sandbox that works."""
    with deaf(fleet):
        fleet.push(READ_ONLY, "-l", "plain", "--no-verify", "--confirm-within", "10")
        wait_until_settled(fleet)
    fleet.plain.exec(
        [
            "sh",
            "-c",
            "install -d -o dev /home/dev/ws; echo secret >/home/dev/ws/key; chown dev /home/dev/ws/key",
        ]
    )
    script = "echo inside; cat key; cat /home/dev/.bashrc; touch x; ls /srv"
    launch = ["fleetbox-run", "--workspace", "/home/dev/ws", "--", "sh", "-c", script]
    done = fleet.plain.ssh(launch, check=False)
    assert done.stdout == b"inside\n"
    for problem in (rb"key: Permission denied", rb"bashrc", rb"x'?: ", rb"srv"):
        assert re.search(problem, done.stderr), done.stderr


def test_two_pushes_at_once_leave_one_whole_generation_and_nothing_on_trial(
    fleet: Fleet, start: str, tmp_path: Path
) -> None:
    with ThreadPoolExecutor() as pool:
        pushes = list(
            pool.map(lambda file: fleet.push(file, "-l", "plain", "--no-verify"), (wider(tmp_path), OFFLINE))
        )
    assert sorted(code for code, _ in pushes) in ([0, 0], [0, 7]), pushes
    answer = status(fleet)
    assert answer["pending"] is None
    assert answer["default_policy"] in ("base", "offline")


def test_two_control_machines_at_once_leave_one_whole_generation_and_nothing_on_trial(
    fleet: Fleet, start: str, tmp_path: Path
) -> None:
    """Both sign with the same keys, which docs/trust.md forbids: what one says is old for who saw both."""
    standby = {"FLEETBOX_STATE_DIR": str(tmp_path / "standby")}
    shutil.copytree(fleet.folder / "state", standby["FLEETBOX_STATE_DIR"])
    with ThreadPoolExecutor() as pool:
        one = pool.submit(fleet.push, wider(tmp_path), "-l", "plain", "--no-verify")
        other = pool.submit(fleet.push, OFFLINE, "-l", "plain", "--no-verify", **standby)
        codes = {one.result()[0], other.result()[0]}
    assert fleet.fleetbox("trust", "catch-up", "-y").returncode == 0
    assert 0 in codes, (one.result(), other.result())
    assert codes <= {0, 6, 7}, (one.result(), other.result())
    answer = status(fleet)
    assert answer["pending"] is None
    assert answer["default_policy"] in ("base", "offline")
