"""Histories of verbs, the states a power cut may leave them in, and what must be true of each.

A history is recorded from real runs, one after the other on the same host. At every moment of the last one
the power may fail; what the ones before it left unsynced may be lost then, too.
"""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from fleetbox.hostside.__main__ import main
from fleetbox.hostside.paths import Places
from tests.faults import recording
from tests.faults.lost_writes import Disk, Link, Operation, Sync, Tree
from tests.integration.hostside.host import HostTree, members
from tests.support import bundles
from tests.support.bundles import Built

OLD, NEW, OTHER = bundles.build("old"), bundles.build("new", ("second",)), bundles.build("other")
_CONTENT = {built.hex: members(built) for built in (OLD, NEW, OTHER)}
_STATE = "fleetbox/"
_ENTRY = re.compile(r"fleetbox/store/([0-9a-f]{64})")
_GENERATION = re.compile(r"fleetbox/generations/([0-9]+)")
# Nobody reads what these hold, and the next run removes them or makes them.
_PASSING = re.compile(r"fleetbox/((store/)?\.(new|tmp)-.*|lock)")

Legal = frozenset["Built | None"]


class Verb(NamedTuple):
    """One run of the host program, and which bundle may be current when it has ended, and meanwhile."""

    argv: tuple[str, ...]
    leaves: Legal
    meanwhile: Legal = frozenset()
    stdin: bytes = b""
    stop: str = "syncs"
    smoke: str = "pass"


def activate(built: Built, *leaves: Built | None, stop: str = "syncs", smoke: str = "pass") -> Verb:
    argv = ("activate", built.digest, "--bundle", "-")
    return Verb(argv, frozenset(leaves or (built,)), frozenset({built}), built.tar, stop, smoke)


class Recorded(NamedTuple):
    """What a verb asked the kernel for, and what is legal before, while and after it runs."""

    operations: list[Operation]
    before: Legal
    meanwhile: Legal
    after: Legal
    answered: bool
    syncs: list[str]
    """Which function asked for each sync among the operations."""

    def without(self, number: int) -> Recorded:
        """As if that operation had done nothing: nothing else that the program does depends on a sync."""
        return self._replace(operations=[*self.operations[:number], *self.operations[number + 1 :]])


class State(NamedTuple):
    """A host after the power came back."""

    tree: Tree
    legal: Legal
    promised: Tree | None
    """What was there when the last verb answered, if nothing ran since."""
    highest: int
    """The highest number that a generation ever had."""
    when: str


def record(root: Path, verbs: Sequence[Verb]) -> list[Recorded]:
    """Run them on a fresh host below `root`, which does not exist."""
    host = HostTree(root / "host")
    legal: Legal = frozenset({None})
    recorded = []
    for number, verb in enumerate(verbs):
        output = root / f"calls{number}"
        done = host.run(
            *verb.argv, stdin=verb.stdin, stop=verb.stop, smoke=verb.smoke, under=recording.command(output)
        )
        assert any(host.enforces(built) for built in verb.leaves), (verb.argv, done)
        operations = list(recording.operations(output, host.state.parent))
        meanwhile = legal | verb.meanwhile | verb.leaves
        syncs = [line.removeprefix("fsync ") for line in done.steps if line.startswith("fsync ")]
        recorded.append(Recorded(operations, legal, meanwhile, verb.leaves, bool(done.answer), syncs))
        legal = verb.leaves
    return recorded


def states(recorded: Sequence[Recorded], chance: random.Random, limit: int) -> Iterator[State]:
    """Every state that a power cut during the last verb, or after it, may leave; each once."""
    *earlier, last = recorded
    disk = Disk()
    for operation in (one for verb in earlier for one in verb.operations):
        disk.apply(operation)
    seen = set()
    highest = 0
    for done in range(len(last.operations) + 1):
        if done:
            disk.apply(last.operations[done - 1])
        live = disk.live()
        highest = max([highest, *_numbers(live)])
        ended = done == len(last.operations)
        legal = last.after if ended else last.meanwhile if done else last.before
        promised = live if ended and last.answered else None
        for crash in disk.crashes(chance, limit):
            key = (frozenset(crash.tree.items()), legal, highest, promised is None)
            if key not in seen:
                seen.add(key)
                when = f"after {done} of {len(last.operations)} operations; {'; '.join(crash.fates)}"
                yield State(crash.tree, legal, promised, highest, when)


def problems(state: State) -> Iterator[str]:
    """What is wrong with the tree as it lies there, by this reader's own rules."""
    tree = state.tree
    if not any(_enforces(tree, built) for built in state.legal):
        yield f"current is {tree.get(_STATE + 'current')!r}, which is none of what it may be, or not whole"
    for path in tree:
        entry = _ENTRY.fullmatch(path)
        if entry and _below(tree, path) != _CONTENT[entry[1]]:
            yield f"{path} does not hold what its name says"
    if state.promised is not None:
        there, promised = _lasting(tree), _lasting(state.promised)
        for path in sorted(there.keys() | promised.keys()):
            if there.get(path, "none") != promised.get(path, "none"):
                yield f"{path} is not what it was when the verb answered"


def settle(state: State, host: HostTree) -> Iterator[str]:
    """Lay the tree out below `host`, which is empty, and go on as an administrator would."""
    _lay_out(state.tree, host.state.parent)
    code, answer = _run(host, "status")
    if code != 0:
        yield f"status: {answer}"
    for built in (NEW, OTHER):
        code, answer = _run(host, *activate(built).argv, stdin=built.tar)
        if code != 0 or not host.enforces(built):
            yield f"the next activation: {answer}"
        elif answer["changed"] and answer["generation"] <= state.highest:
            yield f"generation {answer['generation']} is given twice, {state.highest} was there"
    if left := host.leftovers():
        yield f"left over: {left}"


def removable(recorded: Sequence[Recorded]) -> Iterator[tuple[int, str]]:
    """Each sync of the last verb that made something durable: its number, and who asked for it."""
    *earlier, last = recorded
    disk = Disk()
    for operation in (one for verb in earlier for one in verb.operations):
        disk.apply(operation)
    syncs = iter(last.syncs)
    for number, operation in enumerate(last.operations):
        if isinstance(operation, Sync):
            asked = next(syncs)
            if disk.needs_sync(operation.path):
                yield number, asked
        disk.apply(operation)
    assert not [*syncs], "strace has seen fewer syncs than the program asked for"


def _run(host: HostTree, *argv: str, stdin: bytes = b"") -> tuple[int, dict[str, Any]]:
    """In this process, where the critical checks have been replaced: thousands of times."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        code = main(argv, stdin=io.BytesIO(stdin), places=Places(str(host.root)))
    return code, json.loads(out.getvalue())


def _enforces(tree: Tree, built: Built | None) -> bool:
    pointer = tree.get(_STATE + "current")
    if built is None or pointer is None:
        return built is None and _STATE + "current" not in tree
    generation = tree.get(_STATE + pointer.target) if isinstance(pointer, Link) else None
    if not isinstance(generation, Link) or generation.target != f"../store/{built.hex}":
        return False
    return _below(tree, f"{_STATE}store/{built.hex}") == _CONTENT[built.hex]


def _below(tree: Tree, directory: str) -> dict[str, object]:
    """The files and links below a directory of the tree."""
    prefix = f"{directory}/"
    return {
        path[len(prefix) :]: node
        for path, node in tree.items()
        if path.startswith(prefix) and node is not None
    }


def _lasting(tree: Tree) -> Tree:
    return {path: node for path, node in tree.items() if not _PASSING.fullmatch(path)}


def _numbers(tree: Tree) -> Iterator[int]:
    for path in tree:
        if generation := _GENERATION.fullmatch(path):
            yield int(generation[1])


def _lay_out(tree: Tree, at: Path) -> None:
    for path, node in sorted(tree.items()):
        if node is None:
            (at / path).mkdir()
        elif isinstance(node, Link):
            (at / path).symlink_to(node.target)
        else:
            (at / path).write_bytes(node)
