"""A control machine that was restored from an older backup, and hosts that have seen what came after it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata

from fleetbox.errors import TrustRefused, UsageError
from fleetbox.hostside import metadata, paths
from fleetbox.hostside.bundle import digest_of
from fleetbox.hostside.release import NUMBER_MAX, POLICY_REPOSITORY
from fleetbox.hostside.state import locked
from fleetbox.trust import Trust, Unsigned, catch_up, ceremony
from fleetbox.trust.authority import SKIP
from fleetbox.trust.change import Change, Place, needs, sign
from fleetbox.trust.roles import Signatories
from fleetbox.trust.signers import nobody
from tests.support.signed import TrustingHost
from tests.unit.trust.conftest import key_named, released, three_keys
from tests.unit.trust.test_hosts import HOST, host, pushed

__all__ = ["host"]


@contextmanager
def restored_after(tmp_path: Path) -> Iterator[None]:
    """What is done inside is missing in the backup that is there afterwards."""
    state, backup = tmp_path / "state", tmp_path / "backup"
    shutil.copytree(state, backup)
    yield
    shutil.rmtree(state)
    backup.rename(state)


def refused(trust: Trust, host: TrustingHost, clock, bundle: bytes) -> str:
    release, digest = released(trust, bundle)
    trust.assign({HOST: (release, digest)})
    return host.refusal(trust.published().delivery_for(HOST, bundle=bundle), wall=clock()).code


def test_a_restored_machine_is_refused_until_it_has_caught_up(trust, host, clock, tmp_path) -> None:
    pushed(trust, host, clock, b"1")
    with restored_after(tmp_path):
        for number in range(5):
            pushed(trust, host, clock, b"lost %d" % number)
    assert refused(trust, host, clock, b"2") == "rolled_back_metadata"
    assert all(proposal.published for proposal in trust.catch_up())
    verified = pushed(trust, host, clock, b"3")
    assert verified.generation > SKIP
    assert verified.release.number > SKIP
    assert pushed(trust, host, clock, b"4").generation == verified.generation + 1


def test_a_machine_that_had_nothing_to_catch_up_with_goes_on_as_before(trust, host, clock) -> None:
    pushed(trust, host, clock, b"1")
    for number in (1, 2):
        trust.catch_up()
        assert pushed(trust, host, clock, b"%d" % number).generation > number * SKIP


def test_no_release_number_of_the_time_that_is_lost_is_given_again(trust, host, clock, tmp_path) -> None:
    pushed(trust, host, clock, b"1")
    with restored_after(tmp_path):
        lost = [pushed(trust, host, clock, b"lost %d" % number).release.number for number in range(3)]
        trust.set_min_release(lost[-1])
        pushed(trust, host, clock, b"lost 2")
    trust.catch_up()
    again = trust.find_release(digest_of(b"1"))
    trust.assign({HOST: (again.name, again.digest)})
    sent = trust.published().delivery_for(HOST, bundle=b"1")
    assert host.refusal(sent, wall=clock()).code == "below_min_release"
    trust.set_min_release(host.floor().min_release)  # what its refusal says: docs/trust.md
    assert trust.find_release(digest_of(b"1")) is None
    assert pushed(trust, host, clock, b"1").release.number not in lost


def test_what_offline_keys_sign_waits_for_them_each_role_by_itself(empty, tmp_path, clock) -> None:
    root, policy = three_keys(), three_keys()
    proposal = empty.create(root.who, policy.who)
    empty.sign(sign(proposal.change, [*root.signers[:2], *policy.signers[:2]]), [], nobody)
    with pytest.raises(Unsigned) as waits:
        released(empty, b"1")
    with pytest.raises(UsageError, match="waits already") as busy:
        empty.catch_up()
    assert "fleetbox trust drop" in busy.value.hint
    empty.sign(sign(waits.value.proposal.change, policy.signers[:2]), [], nobody)
    proposals = empty.catch_up()
    assert [[need.place.role for need in needs(one.change)] for one in proposals] == [
        ["targets"],
        ["team-default"],
    ]
    for one in proposals:
        assert empty.sign(sign(one.change, policy.signers[1:]), [], nobody).published
    with empty.opened() as authority:
        versions = {role: authority.policy.version(role) for role in ("targets", "team-default")}
    assert versions == {"targets": 1 + SKIP, "team-default": 1 + SKIP}


def test_catching_up_at_the_end_of_the_numbers_leaves_what_still_says_so(trust) -> None:
    which = released(trust, b"1")
    trust.raise_generation(NUMBER_MAX - 1)
    trust.catch_up()
    assert trust.published().generation == NUMBER_MAX
    with pytest.raises(TrustRefused, match="no generation above"):
        trust.assign({HOST: which})


def test_a_change_that_skips_is_stale_when_another_was_published_first(trust) -> None:
    team = Signatories(tuple(three_keys().who.keys), 2)
    trust.edit("d", lambda draft, _: ceremony.delegate(draft, "research", team))
    (waiting,) = (one for one in trust.catch_up() if not one.published)
    assert [need.place.role for need in needs(waiting.change)] == ["team-research"]
    with trust.opened() as authority:
        assert not authority.stale(waiting.change)
        place = Place(POLICY_REPOSITORY, "team-default")
        for step, stale in ((0, False), (1, False), (SKIP, False), (2, True), (SKIP - 1, True), (-1, True)):
            later = Metadata.from_bytes(authority.base()[place].to_bytes())
            later.signed.version += step
            assert authority.stale(Change("", "", {place: later}, {})) is stale, step


def test_a_team_whose_releases_are_all_lost_begins_above_them(trust, host, clock, tmp_path) -> None:
    with restored_after(tmp_path):
        for number in range(3):
            pushed(trust, host, clock, b"lost %d" % number)
    assert trust.published().releases() == {}
    trust.catch_up()
    assert pushed(trust, host, clock, b"1").release.number > SKIP


def test_after_a_catch_up_that_was_killed_between_the_repositories_another_goes_through(
    trust, host, clock, tmp_path, monkeypatch
) -> None:
    with restored_after(tmp_path):
        pushed(trust, host, clock, b"lost")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(catch_up, "_offline", killed)
    with pytest.raises(KeyboardInterrupt):
        trust.catch_up()
    monkeypatch.undo()
    trust.catch_up()
    assert pushed(trust, host, clock, b"1").bundle == b"1"


def rotate(trust: Trust, name: str) -> None:
    old = key_named(trust, name)
    trust.edit("r", lambda draft, a: ceremony.replace(draft, old, a.ring.create(name)))


def stored_roots(host: TrustingHost) -> list[metadata.Signed]:
    with locked(host.places) as state:
        found = [metadata.stored(state, name) for name in ("policy", "assignment")]
    return [signed for one in found for signed in one if signed.name.endswith("root.json")]


def provisioned_anew(host: TrustingHost, trust: Trust, *, forget: bool) -> None:
    """As role `policy` does it with policy_replace_anchor."""
    if forget:
        shutil.rmtree(host.places.under(paths.TRUST))
        Path(host.places.under(paths.FLOOR)).unlink()
    for repository, data in trust.published().anchor().items():
        Path(host.places.under(paths.anchor(repository))).write_bytes(data)


@pytest.mark.parametrize("rotated", [0, 1, 3])
def test_a_host_follows_trust_that_was_set_up_anew_once_it_has_forgotten_the_old(
    trust, host, clock, tmp_path, rotated
) -> None:
    for number in range(rotated):
        rotate(trust, "root")
        pushed(trust, host, clock, b"%d" % number)
    pushed(trust, host, clock, b"last")
    anew = Trust(tmp_path / "anew", now=clock)
    anew.create()
    provisioned_anew(host, anew, forget=False)
    if rotated:  # its new roots begin at 1, and the host has seen later ones
        assert refused(anew, host, clock, b"1") == "rolled_back_metadata"
    provisioned_anew(host, anew, forget=True)
    assert pushed(anew, host, clock, b"2").bundle == b"2"
    assert [signed.version for signed in stored_roots(host)] == [1, 1]


def test_a_host_that_saw_a_root_which_the_backup_lacks_takes_nothing_until_it_forgets(
    trust, host, clock, tmp_path
) -> None:
    pushed(trust, host, clock, b"1")
    with restored_after(tmp_path):
        for name in ("policy-online", "assignment-online"):
            rotate(trust, name)
        pushed(trust, host, clock, b"lost")
    trust.catch_up()
    assert refused(trust, host, clock, b"2") == "wrong_key"
    provisioned_anew(host, trust, forget=True)
    assert pushed(trust, host, clock, b"3").bundle == b"3"
