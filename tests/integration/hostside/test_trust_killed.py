"""SIGKILL before every change of the file system while verifying and accepting: old or new, never less."""

import json
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fleetbox.hostside import delivery, signed_time, ustar
from fleetbox.hostside.delivery import Delivery
from fleetbox.hostside.errors import Exit
from fleetbox.hostside.floor import Floor
from fleetbox.hostside.steps import Step
from tests.integration.hostside import trust_driver
from tests.integration.hostside.host import REPO, HostTree
from tests.support.signed import NOW, Fleet, TrustingHost

KILLED = -signal.SIGKILL
ACTIVATE = f"""
import sys
from fleetbox.hostside import signed_time
from fleetbox.hostside.__main__ import main
from fleetbox.hostside.paths import Places
from tests.integration.hostside import driver
stop, root = sys.argv[1:]
signed_time.now = lambda: signed_time.parse({signed_time.text(NOW)!r})
driver.answer_smoke("pass")
driver.stop_at_step(stop)
sys.exit(main(["activate", "--delivery", "-"], places=Places(root)))
"""


@pytest.fixture
def root() -> Iterator[Path]:
    with TemporaryDirectory(prefix="fleetbox-tests-", dir="/dev/shm") as path:
        yield Path(path)


def killed_before_each_change(root: Path, sent: Delivery) -> list[TrustingHost]:
    """Copies of host `root/template`, each killed one change later; the last one got through."""
    argv = [sys.executable, "-m", "tests.integration.hostside.trust_driver"]
    argv += [str(root / "template"), str(root / "copies"), signed_time.text(NOW)]
    done = subprocess.run(
        argv, input=delivery.write(sent), capture_output=True, check=False, cwd=REPO, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()
    codes = json.loads(done.stdout)
    assert codes == [*[KILLED] * (len(codes) - 1), 0]
    return [TrustingHost(root / "copies" / str(number)) for number in range(1, len(codes) + 1)]


def metadata(host: TrustingHost) -> dict[str, bytes]:
    return dict(ustar.read((host.state / "trust/metadata.tar").read_bytes()))


def is_at_least(floor: Floor, least: Floor) -> bool:
    names = ("generation", "issued", "min_release", "policy_root", "assignment_root")
    return all(getattr(floor, name) >= getattr(least, name) for name in names)


def test_killed_before_every_change(root: Path) -> None:
    fleet = Fleet({"root": 2, "targets": 2})
    template = TrustingHost(root / "template", fleet)
    first = fleet.release(5)
    replay = fleet.assign(first, 9)
    template.take(fleet.assign(first, 10))
    files, floor = metadata(template), template.floor()
    fleet.policy.rotate("timestamp")
    fleet.min_release(6)
    sent = fleet.assign(fleet.release(7), 11, issued="2026-11-22T01:30:00Z")
    hosts = killed_before_each_change(root, sent)
    after = metadata(hosts[-1])
    assert after != files

    moments = []
    for host in hosts:
        assert metadata(host) in (files, after), "some files of before and some of after"
        assert is_at_least(host.floor(), floor)
        assert host.floor().policy_root <= 1 or metadata(host) == after, (
            "a floor of roots that were not stored"
        )
        moments.append((metadata(host) == after, host.floor() != floor, host.floor().generation))
    assert moments == sorted(moments), "back and forth"
    assert set(moments) == {(False, False, 10), (True, False, 10), (True, True, 10), (True, True, 11)}
    assert len(moments) > 40, "that many files a client writes by itself"

    for host in hosts:
        assert host.refusal(replay).code in ("rolled_back_metadata", "wrong_key")
        assert host.take(sent).generation == 11
        assert [name for name in host.held() if "/." in f"/{name}"] == []


def test_killed_before_every_change_of_the_first_delivery(root: Path) -> None:
    fleet = Fleet()
    TrustingHost(root / "template", fleet)
    sent = fleet.assign(fleet.release(5), 3)
    for host in killed_before_each_change(root, sent):
        assert host.floor().generation in (0, 3)
        assert host.take(sent).generation == 3
        assert [name for name in host.held() if "/." in f"/{name}"] == []


def activate(root: Path, sent: Delivery, stop: str = "") -> int:
    """Verb `activate`, as a push has it, at the time of the fleet; killed at step `stop`."""
    argv = [sys.executable, "-B", "-c", ACTIVATE, stop, str(root)]
    done = subprocess.run(
        argv, input=delivery.write(sent), capture_output=True, check=False, cwd=REPO, timeout=60
    )
    return done.returncode


@pytest.mark.parametrize("step", [Step.VALIDATED, Step.PENDING_WRITTEN, Step.SWITCHED, Step.CONFIRMED, None])
def test_nothing_is_enforced_that_older_assignments_could_undo(root: Path, step: Step | None) -> None:
    """Wherever an activation ends, what is current was accepted before."""
    fleet = Fleet()
    host, tree = TrustingHost(root / "host", fleet), HostTree(root / "host")
    first, second = fleet.release(5), fleet.release(6)
    before = fleet.assign(first, 10)
    assert activate(tree.root, before) == 0
    ended = activate(tree.root, fleet.assign(second, 11), step.name if step else "")
    assert ended == (KILLED if step else 0)
    assert tree.enforces(second.built if step in {Step.SWITCHED, Step.CONFIRMED, None} else first.built)
    assert host.floor().generation == (10 if step is Step.VALIDATED else 11)
    assert activate(tree.root, before) == Exit.TAMPERED


def test_several_at_once_take_turns(root: Path) -> None:
    fleet = Fleet()
    host = TrustingHost(root / "template", fleet)
    sent = fleet.assign(fleet.release(5), 3)
    spawn = multiprocessing.get_context("spawn")
    running = [spawn.Process(target=trust_driver.take, args=(host.places, sent, NOW)) for _ in range(4)]
    for process in running:
        process.start()
    for process in running:
        process.join(timeout=60)
    assert [process.exitcode for process in running] == [0] * 4
    assert host.floor().generation == 3
