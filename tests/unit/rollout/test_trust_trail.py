"""Whatever is signed leaves a record before it is published, of who, what, which versions and which keys."""

import json
from pathlib import Path
from typing import Any

import pytest

from fleetbox.errors import UsageError
from fleetbox.hostside.bundle import digest_of
from fleetbox.hostside.chain import Record
from fleetbox.rollout.audit import AuditTrail
from fleetbox.rollout.trust_trail import recorded
from fleetbox.trust import Trust, Unsigned, ceremony
from fleetbox.trust.change import sign
from fleetbox.trust.roles import Lifetimes, Signatories
from fleetbox.trust.signers import nobody
from tests.unit.trust.conftest import key_named, three_keys


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return recorded(tmp_path)


def records(state_dir: Path) -> list[Record]:
    with AuditTrail(state_dir).entries() as row:
        return [entry for entry in row if isinstance(entry, Record)]


def last(state_dir: Path) -> dict[str, Any]:
    record = records(state_dir)[-1]
    return {"event": record.event, **record.fields}


def test_setting_trust_up_names_every_document_and_every_key(trust, tmp_path) -> None:
    trust.create()
    (said,) = records(tmp_path)
    assert said.event == "trust_published"
    assert said.fields["summary"] == "set up trust"
    assert said.fields["documents"] == ["assignment root 1", "policy root 1", "policy targets 1"]
    assert {"by", "at", "pid", "fleetbox"} <= set(said.fields)
    signers = " ".join(said.fields["signers"])
    for name in ("root", "policy", "policy-online", "assignment-online"):
        assert key_named(trust, name)[:12] in signers


def test_a_replaced_key_shows_by_old_and_new_id(trust, tmp_path) -> None:
    trust.create()
    old = key_named(trust, "policy-online")
    trust.edit("replace it", lambda draft, a: ceremony.replace(draft, old, a.ring.create("policy-online")))
    said = last(tmp_path)
    new = key_named(trust, "policy-online")
    assert f"policy timestamp is signed by 1 of {new[:12]} (was 1 of {old[:12]})" in said["signers"]
    assert said["documents"] == ["policy root 2"]
    assert said["signed_by"] == [key_named(trust, "root")]


def test_what_waits_is_recorded_with_each_signature_and_when_it_is_given_up(trust, tmp_path) -> None:
    trust.create()
    team = three_keys()
    trust.edit("d", lambda draft, _: ceremony.delegate(draft, "research", Signatories(team.who.keys, 2)))
    with pytest.raises(Unsigned) as waits:
        trust.add_release(b"b", digest=digest_of(b"b"), team="research")
    assert last(tmp_path)["event"] == "trust_waits"
    assert "signed_by" not in last(tmp_path)
    change = waits.value.proposal.change
    trust.sign(sign(change, team.signers[:1]), [], nobody)
    said = last(tmp_path)
    assert (said["event"], said["change"], len(said["signed_by"])) == ("trust_waits", change.id, 1)
    trust.drop(change.id)
    assert (last(tmp_path)["event"], last(tmp_path)["change"]) == ("trust_dropped", change.id)


def test_a_floor_a_refresh_a_jump_and_a_raised_generation_are_recorded(trust, tmp_path) -> None:
    trust.create()
    for number, bundle in enumerate((b"a", b"b"), 1):
        trust.add_release(bundle, digest=digest_of(bundle))
        assert f"release policies/default/{number}.tar {digest_of(bundle)}" == last(tmp_path)["summary"]
    trust.set_min_release(2)
    assert last(tmp_path)["summary"] == "no release below 2"
    before = len(records(tmp_path))
    trust.refresh()
    assert len(records(tmp_path)) == before, "nothing was due, and nothing is recorded"
    soon = Lifetimes(renew_online=Lifetimes().online)
    Trust(tmp_path, lifetimes=soon, witness=trust._witness).refresh()
    assert [record.event for record in records(tmp_path)[before:]] == ["trust_refreshed"] * 2
    trust.raise_generation(70)
    assert "above 70" in last(tmp_path)["summary"]
    trust.catch_up()
    events = [record.event for record in records(tmp_path)]
    assert events[-3:] == ["trust_caught_up", "trust_published", "trust_published"]


def test_what_cannot_be_recorded_is_not_done(trust, tmp_path) -> None:
    trust.create()
    trail = tmp_path / "audit"
    trail.rename(tmp_path / "away")
    trail.write_text("no directory")
    before = trust.published().versions
    old = key_named(trust, "root")
    for act in (
        lambda: trust.add_release(b"b", digest=digest_of(b"b")),
        lambda: trust.edit("r", lambda draft, a: ceremony.replace(draft, old, a.ring.create("root"))),
        trust.catch_up,
        lambda: trust.raise_generation(7),
    ):
        with pytest.raises(UsageError, match="audit trail"):
            act()
    assert trust.published().versions == before
    with trust.opened() as authority:
        assert authority.pending() == {}


def test_no_record_holds_a_private_key(trust, tmp_path) -> None:
    trust.create()
    old = key_named(trust, "root")
    trust.edit("r", lambda draft, a: ceremony.replace(draft, old, a.ring.create("root")))
    text = json.dumps([record.fields for record in records(tmp_path)])
    assert "PRIVATE" not in text
    for file in (tmp_path / "trust" / "keys").glob("*.pem"):
        for line in file.read_text().splitlines()[1:-1]:
            assert line not in text
