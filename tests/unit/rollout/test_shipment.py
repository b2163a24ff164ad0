"""What a desk sends when it is not alone: to hosts that have seen newer files, or more than is known here."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleetbox.bundle import Bundle
from fleetbox.errors import ApplyFailed, Superseded
from fleetbox.hostside import delivery, paths
from fleetbox.hostside.bundle import digest_of
from fleetbox.rollout.shipment import JUMP_MAX, Desk, HostAhead, Shipment
from fleetbox.trust import Trust
from tests.support.signed import TrustingHost

HOST, OTHER = "gpu1", "gpu2"


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    trust = Trust(tmp_path / "state")
    assert trust.create().published
    return trust


@pytest.fixture
def host(trust: Trust, tmp_path: Path) -> TrustingHost:
    """A directory that plays the host HOST, provisioned with the anchors of `trust`."""
    host = TrustingHost(tmp_path / "host")
    host.state.parent.mkdir(parents=True)
    files = {paths.anchor(repository): data for repository, data in trust.published().anchor().items()}
    files[paths.HOST_CONFIG] = json.dumps({"host_id": HOST}).encode()
    for path, data in files.items():
        file = Path(host.places.under(path))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return host


def bundle(text: str) -> Bundle:
    data = text.encode()
    return Bundle(digest_of(data), data, {})


def desk(trust: Trust, text: str, *hosts: str) -> Desk:
    """The desk of a push that has released and assigned."""
    made = Desk(trust)
    made.release(bundle(text), (), hosts, team="default")
    return made


def taken(trust: Trust, host: TrustingHost, shipment: Shipment | None) -> str:
    """The digest that the host makes current."""
    assert shipment is not None
    verified = host.verify(shipment.data, wall=datetime.now(UTC))
    host.accept(verified)
    return verified.digest


def test_of_two_pushes_the_one_that_signed_later_stays_and_the_other_says_so(
    trust: Trust, host: TrustingHost
) -> None:
    first = desk(trust, "first", HOST)
    second = desk(trust, "second", HOST)
    sent = first.to(HOST)
    assert taken(trust, host, second.to(HOST)) == digest_of(b"second")
    assert host.refusal(sent.data, wall=datetime.now(UTC)).code == "rolled_back_metadata"
    with pytest.raises(Superseded, match=r"default/2\.tar"):
        first.again(HOST, None)
    assert second.to(HOST).digest == digest_of(b"second")


def test_a_push_that_another_overtook_before_it_packed_says_so_at_once(trust: Trust) -> None:
    first = Desk(trust)
    first.release(bundle("first"), (), [HOST, OTHER], team="default")
    desk(trust, "second", HOST)
    first.reassign(OTHER, digest_of(b"first"))
    with pytest.raises(Superseded):
        first.to(HOST)
    assert first.to(OTHER).digest == digest_of(b"first")


def test_a_host_that_has_seen_newer_files_gets_the_newest(trust: Trust, host: TrustingHost) -> None:
    first = desk(trust, "first", HOST)
    sent = first.to(HOST)
    desk(trust, "second", OTHER)
    host.verify(trust.published().delivery_for(HOST, bundle=b"first"), wall=datetime.now(UTC))
    assert host.refusal(sent.data, wall=datetime.now(UTC)).code == "rolled_back_metadata"
    assert taken(trust, host, first.again(HOST, None)) == digest_of(b"first")


def test_where_nothing_newer_is_known_nothing_is_sent_again(trust: Trust) -> None:
    first = desk(trust, "first", HOST)
    assert first.again(HOST, None) is None
    assert first.again(HOST, 0) is None


def test_a_host_that_has_gone_further_gets_a_higher_generation_and_not_for_ever(trust: Trust) -> None:
    first = desk(trust, "first", HOST, OTHER)
    assert first.again(HOST, 40) is not None
    assert trust.published().generation == 41
    assert first.to(OTHER).digest == digest_of(b"first")
    with pytest.raises(HostAhead, match=f"generation {JUMP_MAX + 1}; the last one from here is 0"):
        first.again(OTHER, JUMP_MAX + 1)
    assert trust.published().generation == 41


def test_more_than_a_host_takes_is_that_hosts_trouble_and_says_so(
    trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = desk(trust, "first", HOST)
    monkeypatch.setattr(delivery, "COUNT_LIMIT", 5)
    with pytest.raises(ApplyFailed, match=r"gpu1 would take no delivery like this one: .* 5 files"):
        first.to(HOST)
