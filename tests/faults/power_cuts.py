"""Histories of verbs, the states a power cut may leave them in, and what must be true of each.

A history is recorded from real runs, one after the other on the same host. At every moment of the last one
the power may fail; what the ones before it left unsynced may be lost then, too.
"""

from __future__ import annotations

import io
import json
import random
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from fleetbox.hostside import baseline
from fleetbox.hostside.__main__ import main
from fleetbox.hostside.paths import Places
from tests.faults import recording
from tests.faults.lost_writes import Disk, Link, Operation, Sync, Tree
from tests.integration.hostside.host import HostTree, members
from tests.support import bundles
from tests.support.bundles import Built

OLD, NEW, OTHER = bundles.build("old"), bundles.build("new", ("second",)), bundles.build("other")
BASE = Built(*baseline.read())
"""The strictest baseline."""
_CONTENT = {built.hex: members(built) for built in (OLD, NEW, OTHER, BASE)}
_STATE = "fleetbox/"
_ENTRY = re.compile(r"fleetbox/store/([0-9a-f]{64})")
_GENERATION = re.compile(r"fleetbox/generations/([0-9]+)")
# Nobody reads what these hold, and the next run removes them or makes them.
_PASSING = re.compile(r"fleetbox/((store/)?\.(new|tmp)-.*|lock)")
# Likewise, when nothing is on trial.
_BACK, _PENDING = "fleetbox/back", "fleetbox/pending.json"
KNOWN = tuple(word for built in (OLD, NEW, OTHER, BASE) for word in ("--not-narrower-than", built.digest))

Legal = frozenset["Built | None"]


class Fates(NamedTuple):
    """Which bundle may be current after a power cut, and which when the next boot's watchdog has ended."""

    lies: Legal
    settles: Legal

    def __or__(self, other: Fates) -> Fates:
        return Fates(self.lies | other.lies, self.settles | other.settles)


def fates(*lies: Built | None, settles: Sequence[Built | None] | None = None) -> Fates:
    """Where nothing else is said, the next boot leaves it at that."""
    return Fates(frozenset(lies), frozenset(lies if settles is None else settles))


_FRESH = fates(None)


class Verb(NamedTuple):
    """One run of the host program, and what is legal when it has ended, and besides that while it runs.

    `{generation}` and `{nonce}` in its words are those that the last activation answered with.
    """

    argv: tuple[str, ...]
    after: Fates
    meanwhile: Fates = Fates(frozenset(), frozenset())
    stdin: bytes = b""
    stop: str = "syncs"
    smoke: str = "pass"
    boot: str = "first"


def activate(built: Built, *more: str, narrows: bool = False, **options: Any) -> Verb:
    """It stays current unless `options`, the fields of `Verb`, say otherwise."""
    known = () if narrows else KNOWN
    argv = ("activate", built.digest, "--bundle", "-", *known, *more)
    meanwhile = fates(built, settles=[])
    given = {"after": fates(built), "meanwhile": meanwhile} | options
    return Verb(argv, stdin=built.tar, **given)


class Recorded(NamedTuple):
    """What a verb asked the kernel for, and what is legal before, while and after it runs."""

    operations: list[Operation]
    before: Fates
    meanwhile: Fates
    after: Fates
    answered: bool
    syncs: list[str]
    """Which function asked for each sync among the operations."""

    def without(self, number: int) -> Recorded:
        """As if that operation had done nothing: nothing else that the program does depends on a sync."""
        return self._replace(operations=[*self.operations[:number], *self.operations[number + 1 :]])


class State(NamedTuple):
    """A host after the power came back."""

    tree: Tree
    legal: Fates
    promised: Tree | None
    """What was there when the last verb answered, if nothing ran since."""
    highest: int
    """The highest number that a generation ever had."""
    when: str


class Recorder:
    """Runs verbs on hosts below `root`; what several histories begin with is run once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[Verb, ...], _Run] = {(): _Run(HostTree(root / "fresh"), {}, [])}

    def record(self, verbs: tuple[Verb, ...]) -> list[Recorded]:
        """What each of them asked the kernel for, on a host that was fresh before the first."""
        return self._run(verbs).recorded

    def _run(self, verbs: tuple[Verb, ...]) -> _Run:
        if verbs not in self._known:
            self._known[verbs] = self._next(self._run(verbs[:-1]), verbs[-1])
        return self._known[verbs]

    def _next(self, before: _Run, verb: Verb) -> _Run:
        root = self._root / str(len(self._known))
        shutil.copytree(before.host.root, root / "host", symlinks=True)
        host, output = HostTree(root / "host"), root / "calls"
        host.boot(verb.boot)
        argv = [word.format(**before.names) for word in verb.argv]
        under = recording.command(output)
        done = host.run(*argv, stdin=verb.stdin, stop=verb.stop, smoke=verb.smoke, under=under)
        assert any(host.enforces(built) for built in verb.after.lies), (verb.argv, done)
        names = before.names
        if "pending" in done.answer:
            names = {"generation": done.answer["generation"], **done.answer["pending"]}
        legal = before.recorded[-1].after if before.recorded else _FRESH
        recorded = Recorded(
            [*recording.operations(output, host.state.parent)],
            legal,
            legal | verb.meanwhile | verb.after,
            verb.after,
            bool(done.answer),
            # The audit trail lies elsewhere; its own tests cut its power.
            [
                line.removeprefix("fsync ")
                for line in done.steps
                if line.startswith("fsync ") and not line.startswith("fsync trail.")
            ],
        )
        return _Run(host, names, [*before.recorded, recorded])


class _Run(NamedTuple):
    """A host after some verbs; `names` are for `Verb.argv`."""

    host: HostTree
    names: dict[str, object]
    recorded: list[Recorded]


def states(recorded: Sequence[Recorded], chance: random.Random, limit: int) -> Iterator[State]:
    """Every state that a power cut during the last verb, or after it, may leave; each once."""
    *earlier, last = recorded
    disk = _disk(earlier)
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


def removable(recorded: Sequence[Recorded]) -> Iterator[tuple[int, str]]:
    """Each sync of the last verb that made something durable: its number, and who asked for it."""
    *earlier, last = recorded
    disk = _disk(earlier)
    syncs = iter(last.syncs)
    for number, operation in enumerate(last.operations):
        if isinstance(operation, Sync):
            asked = next(syncs)
            if disk.needs_sync(operation.path):
                yield number, asked
        disk.apply(operation)
    assert not [*syncs], "strace has seen fewer syncs than the program asked for"


def problems(state: State) -> Iterator[str]:
    """What is wrong with the tree as it lies there, by this reader's own rules."""
    tree = state.tree
    if not any(_enforces(tree, built) for built in state.legal.lies):
        yield f"current is {tree.get(_STATE + 'current')!r}, which is none of what it may be, or not whole"
    for path in tree:
        entry = _ENTRY.fullmatch(path)
        if entry and _below(tree, path) != _CONTENT[entry[1]]:
            yield f"{path} does not hold what its name says"
    if state.promised is not None:
        there, promised = (_lasting(one, state.promised) for one in (tree, state.promised))
        for path in sorted(there.keys() | promised.keys()):
            if there.get(path, "none") != promised.get(path, "none"):
                yield f"{path} is not what it was when the verb answered"


def settle(state: State, host: HostTree, built: Built) -> Iterator[str]:
    """Lay the tree out below `host`, which is empty, boot, and go on with `built` as people would."""
    lay_out(state.tree, host.state.parent)
    host.boot("after the power cut")
    # Once: a watchdog that cannot go back tries for ever, as it must.
    for argv in (["status"], ["watchdog", "--once"]):
        code, answer = _run(host, *argv)
        if code != 0:
            yield f"{argv[0]}: {answer}"
    if not any(host.enforces(one) for one in state.legal.settles):
        yield f"the watchdog leaves {host.current()}"
    code, answer = _run(host, *activate(built, "--clear-quarantine").argv, stdin=built.tar)
    if code != 0 or not host.enforces(built):
        yield f"the next activation: {answer}"
    elif answer["changed"] and answer["generation"] <= state.highest:
        yield f"generation {answer['generation']} is given twice, {state.highest} was there"
    if left := host.leftovers():
        yield f"left over: {left}"


def _disk(earlier: Sequence[Recorded]) -> Disk:
    return Disk.after(operation for verb in earlier for operation in verb.operations)


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


def _lasting(tree: Tree, promised: Tree) -> Tree:
    passing = set() if _PENDING in promised else {_BACK}
    return {path: node for path, node in tree.items() if not _PASSING.fullmatch(path) and path not in passing}


def _numbers(tree: Tree) -> Iterator[int]:
    for path in tree:
        if generation := _GENERATION.fullmatch(path):
            yield int(generation[1])


def lay_out(tree: Tree, at: Path) -> None:
    """Make the directory `at`, which is empty, hold `tree`."""
    for path, node in sorted(tree.items()):
        if node is None:
            (at / path).mkdir(mode=0o755)
        elif isinstance(node, Link):
            (at / path).symlink_to(node.target)
        else:
            (at / path).write_bytes(node)
