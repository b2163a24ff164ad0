"""The power fails at any moment of verifying and accepting: what was verified is whole, and the floor stays.

What the client writes into its private copy is left out: nobody reads it, and the next run removes it.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from fleetbox.hostside import delivery, floor, signed_time
from fleetbox.hostside.delivery import Delivery
from fleetbox.hostside.floor import Floor
from tests.faults import recording
from tests.faults.conftest import Show
from tests.faults.lost_writes import Disk, Operation, Sync, Tree
from tests.faults.power_cuts import lay_out
from tests.faults.tools import scaled
from tests.integration.hostside.host import REPO
from tests.support.signed import NOW, Fleet, TrustingHost

METADATA, FLOOR = "fleetbox/trust/metadata.tar", "fleetbox/floor.json"
PRIVATE = "".join(f"\\x{byte:02x}" for byte in b"/trust/.tmp-")  # as strace writes it
TAKE = f"""
import sys
from fleetbox.hostside import delivery, signed_time
from fleetbox.hostside.paths import Places
from tests.integration.hostside import trust_driver
sent = delivery.receive(sys.stdin.buffer)
trust_driver.take(Places(sys.argv[1]), sent, signed_time.parse({signed_time.text(NOW)!r}))
"""


class Recorded(NamedTuple):
    """Two deliveries taken one after the other, and what lay there after each."""

    fleet: Fleet
    second: Delivery
    operations: tuple[list[Operation], list[Operation]]
    after: tuple[Tree, Tree]


@pytest.fixture(scope="module")
def recorded() -> Iterator[Recorded]:
    with TemporaryDirectory(prefix="fleetbox-tests-", dir="/dev/shm") as folder:
        fleet = Fleet()
        host = TrustingHost(Path(folder) / "host", fleet)
        first = fleet.assign(fleet.release(5), 10)
        before = _recorded(host, first, Path(folder) / "first")
        fleet.policy.rotate("timestamp")
        fleet.min_release(6)
        second = fleet.assign(fleet.release(7), 11, issued="2026-11-22T01:30:00Z")
        after = _recorded(host, second, Path(folder) / "second")
        trees = (Disk.after(before).live(), Disk.after([*before, *after]).live())
        yield Recorded(fleet, second, (before, after), trees)


def _recorded(host: TrustingHost, sent: Delivery, output: Path) -> list[Operation]:
    argv = [*recording.command(output), sys.executable, "-B", "-c", TAKE, host.places.root]
    subprocess.run(argv, input=delivery.write(sent), check=True, cwd=REPO, timeout=120)
    calls = [line for line in output.read_text("ascii").splitlines() if PRIVATE not in line]
    output.write_text("\n".join(calls), "ascii")
    return list(recording.operations(output, host.state.parent))


def _floor(tree: Tree) -> Floor:
    data = tree.get(FLOOR, b"")
    assert isinstance(data, bytes)
    return floor.decode(data) if data else Floor()


def _trees(done: Sequence[Operation], running: Sequence[Operation]) -> Iterator[tuple[bool, Tree]]:
    """Whether the run had ended, and what may lie there; each once."""
    disk = Disk.after(done)
    chance, seen = random.Random(1), set()  # noqa: S311
    for number in range(len(running) + 1):
        if number:
            disk.apply(running[number - 1])
        ended = number == len(running)
        for crash in disk.crashes(chance, scaled(8, 2000)):
            key = (ended, frozenset(crash.tree.items()))
            if key not in seen:
                seen.add(key)
                yield ended, crash.tree


def _problems(recorded: Recorded, done: list[Operation], running: list[Operation]) -> Iterator[str]:
    before, after = recorded.after
    least, most = _floor(before), _floor(after)
    for ended, tree in _trees(done, running):
        lies = tree.get(METADATA)
        if lies not in ((after[METADATA],) if ended else (before[METADATA], after[METADATA])):
            yield "the metadata is not that of before or after, whole"
        try:
            now = _floor(tree)
        except ValueError as problem:
            yield f"the floor is {problem}"
            continue
        if now not in (least, least._replace(**_of(most)), most):
            yield f"the floor is {now.public()}"
        if ended and now != most:
            yield "what was accepted is forgotten"


def _of(floor: Floor) -> dict[str, object]:
    """What verifying alone raises."""
    names = ("issued", "min_release", "assignment_root", "assignment_keys", "policy_root", "policy_keys")
    return {name: getattr(floor, name) for name in names}


def test_a_power_cut_at_any_moment_leaves_the_old_or_the_new(recorded: Recorded, show: Show) -> None:
    done, running = recorded.operations
    assert list(_problems(recorded, done, running)) == []
    show(f"{len(running)} operations, {sum(1 for _ in _trees(done, running))} states after a power cut")


def test_the_next_delivery_is_taken_after_any_power_cut(recorded: Recorded, tmp_path: Path) -> None:
    done, running = recorded.operations
    for number, (_, tree) in enumerate([*_trees([], done), *_trees(done, running)]):
        host = TrustingHost(tmp_path / str(number), recorded.fleet)
        lay_out(tree, host.state.parent)
        assert host.take(recorded.second).generation == 11
        assert [name for name in host.held() if "/." in f"/{name}"] == []


def test_no_sync_can_be_left_out(recorded: Recorded) -> None:
    """The model can fail: without any one of them that makes something durable, something is lost.

    Of those of the state directory the last one counts: that of `accept` covers those of `verify`.
    """
    done, running = recorded.operations
    last = max(number for number, one in enumerate(running) if one == Sync("fleetbox"))
    disk = Disk.after(done)
    tried = 0
    for number, operation in enumerate(running):
        covered = operation == Sync("fleetbox") and number != last
        if isinstance(operation, Sync) and disk.needs_sync(operation.path) and not covered:
            tried += 1
            without = [*running[:number], *running[number + 1 :]]
            assert list(_problems(recorded, done, without)), f"nothing needs the sync of {operation.path}"
        disk.apply(operation)
    assert tried == len(["metadata", "its name", "floor verified", "floor accepted", "its name"])
