"""What expires is signed again in time, and files that nobody can want any more go."""

import os
from pathlib import Path

import pytest
from tuf.api.exceptions import ExpiredMetadataError

from fleetbox.hostside.release import POLICY_REPOSITORY
from fleetbox.trust import Trust, Unsigned
from fleetbox.trust.change import needs, sign
from fleetbox.trust.signers import nobody
from fleetbox.trust.status import status
from tests.unit.trust.conftest import released, three_keys


def states(trust: Trust) -> set[str]:
    with trust.opened() as authority:
        return {role.state for role in status(authority).roles}


def test_snapshot_and_timestamp_expire_after_a_week_and_are_refreshed(trust, client, clock) -> None:
    assert client.floor(clock()) == 1
    clock.turn(days=8)
    with pytest.raises(ExpiredMetadataError):
        client.floor(clock())
    assert "expired" in states(trust)
    assert trust.refresh() is None
    assert client.floor(clock()) == 1
    assert states(trust) <= {"ok", "unsigned"}


def test_nothing_is_signed_again_before_it_is_due(trust, clock) -> None:
    before = trust.published().anchor()
    files = files_of(trust)
    clock.turn(days=1)
    assert trust.refresh() is None
    assert files_of(trust) == files
    assert trust.published().anchor() == before


def files_of(trust: Trust) -> set[str]:
    with trust.opened() as authority:
        return {str(path) for path in authority.places.trust.rglob("*.json")}


def test_roots_and_targets_are_renewed_in_their_last_months(trust, client, clock) -> None:
    trust.assign({"h1": released(trust)})
    clock.turn(days=310)
    assert trust.refresh().published
    assert client.bundle("h1", clock()) == b"a bundle"
    assert states(trust) <= {"ok", "unsigned"}
    clock.turn(days=310)
    trust.refresh()
    assert client.bundle("h1", clock()) == b"a bundle"


def test_what_offline_keys_must_renew_waits_for_them_once(empty, client_of, clock) -> None:
    root, policy = three_keys(), three_keys()
    proposal = empty.create(root.who, policy.who)
    signed = sign(proposal.change, [*root.signers[:2], *policy.signers[:2]])
    assert empty.sign(signed, [], nobody).published
    client = client_of(empty)
    clock.turn(days=310)
    proposal = empty.refresh()
    assert not proposal.published
    assert {need.place.role for need in needs(proposal.change)} == {"root", "targets"}
    assert empty.refresh() is None, "it waits already"
    signed = sign(proposal.change, [*root.signers[1:], *policy.signers[1:]])
    assert empty.sign(signed, [], nobody).published
    clock.turn(days=100)
    empty.refresh()
    assert client.floor(clock()) == 1


def grown_old(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))


def test_superseded_files_go_after_a_day_and_nothing_that_is_needed_does(
    trust, client, clock, tmp_path
) -> None:
    base = tmp_path / "state" / "trust"
    for bundle in (b"1", b"2", b"3"):
        trust.assign({"h1": released(trust, bundle)})
    trust.set_min_release(3)
    released(trust, b"4")
    fresh = set(base.rglob("*.json"))
    trust.refresh()
    assert set(base.rglob("*.json")) == fresh, "a reader may be at it"
    grown_old(base)
    trust.refresh()
    left = {path.name for path in base.rglob("*")}
    assert "2.snapshot.json" not in left
    assert "1.root.json" in left
    assert not [name for name in left if name.endswith((".1.tar", ".2.tar"))]
    assert client.bundle("h1", clock()) == b"3"
    trust.assign({"h1": released(trust, b"5")})
    assert client.bundle("h1", clock()) == b"5"


def test_the_bundle_of_a_release_that_waits_is_kept(empty, tmp_path) -> None:
    policy = three_keys()
    proposal = empty.create(None, policy.who)
    assert empty.sign(sign(proposal.change, policy.signers), [], nobody).published
    with pytest.raises(Unsigned) as waits:
        released(empty, b"waits")
    grown_old(tmp_path / "state/trust" / POLICY_REPOSITORY)
    empty.refresh()
    assert empty.sign(sign(waits.value.proposal.change, policy.signers), [], nobody).published
    (name,) = empty.published().releases()
    assert empty.published().bundle(name) == b"waits"
