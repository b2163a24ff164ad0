"""Kills a writer before each of its changes of the file system, and asks after each whether all is well.

    python -m tests.unit.trust.killed OPERATION DIRECTORY

For each change: the operation runs in a process of its own, on a copy, and is stopped dead before it. Then
a client that had seen the state before must verify what is there, the operation must work once more, and
the client must verify that. Prints how many kills there were. The door is that of
`tests.integration.hostside.driver`; fleetbox has none.
"""

import shutil
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from fleetbox.errors import UsageError
from fleetbox.hostside.bundle import digest_of
from fleetbox.trust import Trust, authority, ceremony
from tests.integration.hostside.driver import killed_at_call
from tests.unit.trust.client import Client

BUNDLE = b"the bundle"
NOW = datetime.now(UTC)


def rotate(name: str) -> Callable[[Trust], object]:
    def edit(draft: Any, opened: Any) -> None:
        old = next(k for k in ceremony.keys_of(draft) if opened.ring.known(k).name == name)
        ceremony.replace(draft, old, opened.ring.create(name))

    return lambda trust: trust.edit(f"rotate {name}", edit)


def create(trust: Trust) -> None:
    try:
        trust.create()
    except UsageError:
        trust.published()  # a killed one was finished when the directory was opened


def assign(trust: Trust) -> None:
    release = trust.find_release(digest_of(BUNDLE))
    assert release is not None
    trust.assign({f"h{n}": (release.name, release.digest) for n in range(4)})


OPERATIONS: dict[str, Callable[[Trust], object]] = {
    "create": create,
    "release": lambda trust: trust.add_release(BUNDLE, digest=digest_of(BUNDLE)),
    "assign": assign,
    "min-release": lambda trust: trust.set_min_release(2),
    "raise-generation": lambda trust: trust.raise_generation(70),
    "catch-up": lambda trust: trust.catch_up(),
    "rotate-root": rotate("root"),
    "rotate-policy": rotate("policy"),
    "rotate-policy-online": rotate("policy-online"),
    "rotate-assignment-online": rotate("assignment-online"),
}


def killed(operation: Callable[[Trust], object], state: Path, number: int) -> bool:
    """Whether the process got as far as its change `number`."""
    code = killed_at_call(number, lambda: operation(Trust(state, now=lambda: NOW)))
    assert code in (0, -signal.SIGKILL), "the operation failed"
    return code != 0


def verified(client: Client, state: Path) -> None:
    """A client that knows the state before, and one that is new, verify what there is."""
    client.trust = state / "trust"
    newcomer = Client(state / "newcomer", state / "trust", Trust(state).published().anchor())
    for one in (client, newcomer):
        assert one.floor() in (1, 2)
        assert one.bundle("h1") == BUNDLE
    shutil.rmtree(state / "newcomer")


def main(name: str, directory: Path) -> int:
    authority.BITS = 1  # two bins: what is written is the same, and less of it
    operation = OPERATIONS[name]
    before = directory / "before"
    if name != "create":
        trust = Trust(before, now=lambda: NOW)
        trust.create()
        OPERATIONS["release"](trust)
        OPERATIONS["release"](trust)
        assign(trust)
    for number in count(1):
        state = directory / "state"
        shutil.rmtree(state, ignore_errors=True)
        if before.exists():
            shutil.copytree(before, state)
        died = killed(operation, state, number)
        if name == "create":
            if died:
                operation(Trust(state))
            OPERATIONS["release"](Trust(state))
            assign(Trust(state))
            client = Client(directory / f"host{number}", state / "trust", Trust(state).published().anchor())
            verified(client, state)
        else:
            shutil.rmtree(directory / "host", ignore_errors=True)
            client = Client(directory / "host", before / "trust", Trust(before).published().anchor())
            verified(client, before)
            verified(client, state)
            operation(Trust(state))
            verified(client, state)
        assert not list((state / "trust").rglob(".tmp-*")), "something unfinished was left"
        assert not list((state / "trust" / "pending").iterdir()), "a change was left"
        if not died:
            print(number - 1)
            return 0
    raise AssertionError("unreachable")


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
