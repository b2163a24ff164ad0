"""Metadata with one value replaced by nonsense, signed by the right keys: taken or refused, never a crash."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from securesystemslib.formats import encode_canonical

from fleetbox.hostside import sources
from fleetbox.hostside.delivery import Delivery
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.trust_words import REFUSALS
from tests.support.signed import Fleet, Repository, TrustingHost

ROUNDS = 150
NONSENSE = [
    *(None, True, 0, -1, 1e308, 2**70, "", "x", "\ud800", "9" * 5000, [], {}, [1], {"a": 1}),
    *("2026-13-01T00:00:00Z", "2026-11-22T01:00:00+00:00"),
]
Place = tuple[Any, ...]


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    """The way to every value inside `value`."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inside:
        yield (*above, key)
        yield from places(below, (*above, key))


def changed(data: Any, chance: random.Random) -> str:
    """Change one value in place; says which."""
    place = chance.choice(list(places(data)))
    holder = data
    for key in place[:-1]:
        holder = holder[key]
    if isinstance(holder, dict) and chance.random() < 0.2:
        del holder[place[-1]]
        return f"{place} removed"
    holder[place[-1]] = chance.choice(NONSENSE)
    return f"{place} = {holder[place[-1]]!r:.40}"


def signed_again(data: Any, repository: Repository, role: str) -> Any:
    """With right signatures, where what there is can be signed at all."""
    try:
        payload = encode_canonical(data["signed"]).encode()
    except Exception:  # noqa: BLE001  # no canonical form: it goes as it is
        return data
    signers = repository.signers[role]
    return {
        **data,
        "signatures": [{"keyid": s.public_key.keyid, "sig": s.sign(payload).signature} for s in signers],
    }


def nonsense(fleet: Fleet, sent: Delivery, chance: random.Random) -> tuple[str, Delivery]:
    repository = chance.choice(["policy", "assignment"])
    part = getattr(sent, repository)
    name = chance.choice([name for name in part.metadata if name != "1.root.json"])
    data = json.loads(part.metadata[name])
    what = changed(data, chance)
    if chance.random() < 0.7 and isinstance(data, dict) and "signed" in data:
        data = signed_again(data, getattr(fleet, repository), name.split(".")[-2])
    metadata = {**part.metadata, name: json.dumps(data).encode()}
    return f"{repository}/{name}: {what}", sent._replace(**{repository: part._replace(metadata=metadata)})


@pytest.fixture
def memory() -> Iterator[Path]:
    with TemporaryDirectory(prefix="fleetbox-tests-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.mark.parametrize("seed", range(2))
def test_nothing_that_is_signed_makes_it_crash(memory: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    fleet = Fleet()
    published = fleet.release(5)
    for repository in (fleet.policy, fleet.assignment):
        repository.rotate("targets")
        repository.publish()
    sent = fleet.assign(published, 1)
    host = TrustingHost(memory, fleet)
    refused = set()
    for _ in range(ROUNDS):
        what, delivered = nonsense(fleet, sent, chance)
        shutil.rmtree(host.state, ignore_errors=True)
        try:
            verified = host.verify(sources.sent(delivered))
        except HostError as refusal:
            refused.add(refusal.code)
            continue
        assert (verified.digest, verified.generation) == (published.built.digest, 1), what
    assert {"malformed", "wrong_key"} <= refused <= set(REFUSALS)
