"""A host says when what it enforces is no longer vouched for, and for how long that has been so."""

from datetime import timedelta
from pathlib import Path

import pytest

from fleetbox.hostside import metadata
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.staleness import Staleness, staleness
from fleetbox.hostside.state import locked, reading
from tests.support.signed import NOW, Fleet, TrustingHost

DAYS = timedelta(days=1)


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def host(fleet: Fleet, tmp_path: Path) -> TrustingHost:
    host = TrustingHost(tmp_path, fleet, max_stale_days=3)
    host.take(fleet.assign(fleet.release(5), 1))
    return host


def test_a_host_that_never_verified_anything_says_so(fleet: Fleet, tmp_path: Path) -> None:
    said = staleness(TrustingHost(tmp_path, fleet).places, wall=NOW)
    assert said == Staleness(verified=False, stale=False, since=None, what=None, too_long=False)


def test_what_is_in_time_is_not_stale(host: TrustingHost) -> None:
    assert staleness(host.places, wall=NOW + 6 * DAYS) == Staleness(
        verified=True, stale=False, since=None, what=None, too_long=False
    )


def test_it_is_stale_from_the_moment_the_first_signature_runs_out(host: TrustingHost) -> None:
    said = staleness(host.places, wall=NOW + 7 * DAYS)
    assert (said.stale, said.since, said.too_long) == (True, "2026-11-29T02:00:00Z", False)
    assert said.what in ("assignment/timestamp.json", "assignment/snapshot.json", "assignment/targets.json")


def test_it_is_too_long_after_max_stale_days(host: TrustingHost) -> None:
    assert not staleness(host.places, wall=NOW + 10 * DAYS - timedelta(seconds=1)).too_long
    assert staleness(host.places, wall=NOW + 10 * DAYS).too_long


def test_without_max_stale_days_it_is_never_too_long(fleet: Fleet, tmp_path: Path) -> None:
    host = TrustingHost(tmp_path, fleet)
    host.take(fleet.assign(fleet.release(6), 1))
    assert not staleness(host.places, wall=NOW + 3000 * DAYS).too_long


def test_a_clock_that_is_set_back_makes_nothing_fresh(host: TrustingHost, fleet: Fleet) -> None:
    fleet = Fleet()
    for repository in (fleet.policy, fleet.assignment):
        repository.expire("targets", NOW + 30 * DAYS)
    assert staleness(host.places, wall=NOW - 3000 * DAYS).stale is False
    text = (host.state / "floor.json").read_text()
    (host.state / "floor.json").write_text(text.replace("2026-11-22T01:00:00Z", "2026-12-24T01:00:00Z"))
    assert staleness(host.places, wall=NOW - 3000 * DAYS).stale is True


def test_a_refused_delivery_does_not_make_it_fresh(host: TrustingHost, fleet: Fleet) -> None:
    later = NOW + 8 * DAYS
    assert host.refusal(fleet.assign(fleet.release(7), 2), wall=later).code == "expired"
    assert staleness(host.places, wall=later).stale


def test_a_damaged_floor_is_not_taken_for_none(host: TrustingHost) -> None:
    (host.state / "floor.json").write_bytes(b"{")
    with pytest.raises(HostError):
        staleness(host.places, wall=NOW)


def test_a_role_that_nothing_needs_any_more_is_not_kept(host: TrustingHost, fleet: Fleet) -> None:
    """It would be due one day, and nobody would renew it."""
    with locked(host.places) as state, metadata.changing(state) as directory:
        old = Path(directory, "policy/team-gone.json")
        old.write_bytes(Path(directory, "policy/targets.json").read_bytes())
    host.take(fleet.assign(fleet.release(8), 3))
    with reading(host.places) as state:
        assert state is not None
        names = [signed.name for signed in metadata.stored(state, "policy")]
    assert "team-gone.json" not in names
    assert "targets.json" in names


@pytest.mark.parametrize("refused", [False, True])
def test_more_than_can_be_read_again_is_not_stored(host: TrustingHost, *, refused: bool) -> None:
    """Else who holds an online key could fill it up, and the host would take nothing ever after."""
    before = (host.state / "trust/metadata.tar").read_bytes()

    def fill() -> None:
        with locked(host.places) as state, metadata.changing(state) as directory:
            Path(directory, "assignment/x.json").write_bytes(bytes(33 * 1024 * 1024))
            if refused:
                raise HostError("expired", "something else")

    with pytest.raises(HostError) as refusal:
        fill()
    assert refusal.value.code == ("expired" if refused else "too_large")
    assert (host.state / "trust/metadata.tar").read_bytes() == before
    assert staleness(host.places, wall=NOW).verified
