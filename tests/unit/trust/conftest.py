"""One state directory with trust, a clock that a test can turn, and a client that begins at the anchor."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from securesystemslib.signer import CryptoSigner

from fleetbox.hostside.bundle import digest_of
from fleetbox.hostside.release import ReleaseName
from fleetbox.trust import Trust
from fleetbox.trust.roles import Signatories
from tests.unit.trust.client import Client


class Clock:
    """What `now` says, until it is turned."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def empty(tmp_path: Path, clock: Clock) -> Trust:
    return Trust(tmp_path / "state", now=clock)


@pytest.fixture
def trust(empty: Trust) -> Trust:
    assert empty.create().published
    return empty


@pytest.fixture
def client_of(tmp_path: Path) -> Callable[[Trust], Client]:
    """A new client of a trust: what provisioning gives a host is all it has."""
    made = iter(range(1000))

    def client(trust: Trust) -> Client:
        return Client(
            tmp_path / f"host{next(made)}", tmp_path / "state" / "trust", trust.published().anchor()
        )

    return client


@pytest.fixture
def client(trust: Trust, client_of) -> Client:
    return client_of(trust)


def released(trust: Trust, bundle: bytes = b"a bundle", team: str = "default") -> tuple[ReleaseName, str]:
    """Add a release; what `assign` takes for a host."""
    digest = digest_of(bundle)
    return trust.add_release(bundle, team=team, digest=digest), digest


def three_keys() -> SimpleNamespace:
    """Three keys that are nowhere on the control machine, of which it takes two."""
    signers = tuple(CryptoSigner.generate_ed25519() for _ in range(3))
    return SimpleNamespace(signers=signers, who=Signatories(tuple(s.public_key for s in signers), 2))


def local_key(trust: Trust, name: str) -> Signatories:
    """A key that is made on the control machine."""
    with trust.opened() as authority:
        return Signatories((authority.ring.create(name),))


def key_named(trust: Trust, name: str) -> str:
    """The id of the key in use that is called so."""
    with trust.opened() as authority:
        keys = authority.policy.root.signed.keys | authority.assignment.root.signed.keys
        return next(keyid for keyid in keys if authority.ring.known(keyid).name == name)
