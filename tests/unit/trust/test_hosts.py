"""What is published here is taken by the host program, with the client that is vendored for hosts."""

import json
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from fleetbox.hostside.bundle import digest_of
from fleetbox.trust import Trust, ceremony
from tests.support.signed import TrustingHost
from tests.unit.trust.conftest import key_named, released

HOST = "gpu1.example.org"


@pytest.fixture
def host(trust: Trust, tmp_path: Path) -> TrustingHost:
    """A directory that plays a host which was provisioned with the anchor of `trust`."""
    root = tmp_path / "host"
    found = TrustingHost(root)
    found.state.parent.mkdir(parents=True)
    for repository, data in trust.published().anchor().items():
        anchor = Path(found.places.under(paths.anchor(repository)))
        anchor.parent.mkdir(parents=True, exist_ok=True)
        anchor.write_bytes(data)
    config = Path(found.places.under(paths.HOST_CONFIG))
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps({"host_id": HOST}))
    return found


def pushed(trust: Trust, host: TrustingHost, clock, bundle: bytes):
    """Release, assign, send, take."""
    release, digest = released(trust, bundle)
    trust.assign({HOST: (release, digest), "another": (release, digest)})
    return host.take(trust.published().delivery_for(HOST, bundle=bundle), wall=clock())


def test_a_host_takes_what_is_released_and_assigned(trust, host, clock) -> None:
    verified = pushed(trust, host, clock, b"the bundle")
    assert (verified.bundle, verified.digest) == (b"the bundle", digest_of(b"the bundle"))
    assert (verified.generation, verified.min_release) == (1, 1)


@pytest.mark.parametrize("name", ["root", "policy", "policy-online", "assignment-online"])
def test_a_host_follows_when_a_key_is_replaced(trust, host, clock, name) -> None:
    pushed(trust, host, clock, b"1")
    old = key_named(trust, name)
    trust.edit("rotate", lambda draft, a: ceremony.replace(draft, old, a.ring.create(name)))
    assert pushed(trust, host, clock, b"2").bundle == b"2"


def test_going_back_is_a_higher_generation_of_an_older_release(trust, host, clock) -> None:
    pushed(trust, host, clock, b"1")
    pushed(trust, host, clock, b"2")
    old = trust.find_release(digest_of(b"1"))
    trust.assign({HOST: (old.name, old.digest)})
    verified = host.take(trust.published().delivery_for(HOST, bundle=None), wall=clock())
    assert (verified.release, verified.generation) == (("default", 1), 3)


def test_an_assignment_that_was_replaced_is_replayed_in_vain(trust, host, clock) -> None:
    release, digest = released(trust, b"1")
    trust.assign({HOST: (release, digest)})
    old = trust.published().delivery_for(HOST, bundle=b"1")
    host.take(old, wall=clock())
    pushed(trust, host, clock, b"2")
    assert host.refusal(old, wall=clock()).code == "rolled_back_metadata"


def test_a_host_keeps_the_floor_that_was_raised(trust, host, clock) -> None:
    pushed(trust, host, clock, b"1")
    pushed(trust, host, clock, b"2")
    trust.set_min_release(2)
    assert pushed(trust, host, clock, b"3").min_release == 2
    assert host.floor().min_release == 2


def test_a_generation_that_a_host_has_had_is_passed(trust, host, clock) -> None:
    """The repository was set back to a backup, and the host says what it has had."""
    trust.raise_generation(500)
    assert pushed(trust, host, clock, b"1").generation == 501
    trust.raise_generation(7)
    assert pushed(trust, host, clock, b"2").generation == 502


def test_a_host_refuses_what_was_signed_for_another(trust, host, clock) -> None:
    release, digest = released(trust, b"1")
    trust.assign({"another": (release, digest)})
    assert host.refusal(trust.published().delivery_for("another", bundle=b"1"), wall=clock()).code in (
        "wrong_host",
        "incomplete",
    )


def test_a_host_refuses_what_has_expired_and_takes_it_when_it_was_refreshed(trust, host, clock) -> None:
    pushed(trust, host, clock, b"1")
    clock.turn(days=8)
    again = trust.published().delivery_for(HOST, bundle=None)
    assert host.refusal(again, wall=clock()).code == "expired"
    assert trust.refresh() is None
    assert host.take(trust.published().delivery_for(HOST, bundle=None), wall=clock()).generation == 1


def ahead(trust, host, clock, **by: float):
    """One push with a clock that is ahead, host's own being right; then the clock is set right."""
    right = clock.now
    clock.turn(**by)
    release, digest = released(trust, b"ahead")
    trust.refresh()
    trust.assign({HOST: (release, digest)})
    host.take(trust.published().delivery_for(HOST, bundle=b"ahead"), wall=right)
    clock.now = right


@pytest.mark.parametrize("days", [30, 500, 20_000])
def test_after_a_push_with_a_clock_ahead_the_next_one_with_the_right_clock_is_taken(
    trust, host, clock, days
) -> None:
    pushed(trust, host, clock, b"1")
    ahead(trust, host, clock, days=days)
    assert pushed(trust, host, clock, b"2").bundle == b"2"
    clock.turn(days=8)
    trust.refresh()
    assert pushed(trust, host, clock, b"3").bundle == b"3"


def test_a_clock_far_behind_signs_nothing_that_has_expired_for_hosts(trust, host, clock) -> None:
    pushed(trust, host, clock, b"1")
    right = clock.now
    clock.turn(days=-4000)
    trust.refresh()
    release, digest = released(trust, b"2")
    trust.assign({HOST: (release, digest)})
    assert host.take(trust.published().delivery_for(HOST, bundle=b"2"), wall=right).bundle == b"2"


def test_replacing_the_key_of_assignments_makes_hosts_and_this_machine_forget_a_wrong_time(
    trust, host, clock
) -> None:
    ahead(trust, host, clock, days=20_000)
    old = key_named(trust, "assignment-online")
    trust.edit("r", lambda draft, a: ceremony.replace(draft, old, a.ring.create("assignment-online")))
    assert trust.clock_warning() == ""
    with trust.opened() as authority:
        assert authority.assignment.timestamp.signed.expires <= clock() + authority.lifetimes.online
    pushed(trust, host, clock, b"2")
    assert host.floor().issued == f"{clock.now:%Y-%m-%dT%H:%M:%SZ}"
    assert trust.published().generation == host.floor().generation == 1
