"""Who signs what is changed by those who may, with as many signatures as it takes, and clients follow."""

import os
import stat

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata

from fleetbox.errors import TrustRefused, UsageError
from fleetbox.hostside.bundle import digest_of
from fleetbox.hostside.release import POLICY_REPOSITORY
from fleetbox.trust import Trust, Unsigned, ceremony
from fleetbox.trust.change import Change, decode, encode, join, needs, sign
from fleetbox.trust.describe import describe
from fleetbox.trust.draft import Draft
from fleetbox.trust.publish import Update, publish
from fleetbox.trust.roles import Signatories
from fleetbox.trust.signers import nobody
from fleetbox.trust.status import status
from tests.unit.trust.conftest import key_named, local_key, released, three_keys


def rotated(trust: Trust, name: str):
    """Replace a key by one that is made here."""
    old = key_named(trust, name)
    return trust.edit("rotate", lambda draft, a: ceremony.replace(draft, old, a.ring.create(name)))


def signed_by(trust: Trust, proposal, *signers):
    """Carry the change to keys and back, as `fleetbox trust sign` does."""
    carried = sign(decode(proposal.file.read_bytes(), "carried"), signers)
    return trust.sign(carried, [], nobody)


@pytest.fixture
def offline(empty):
    """Trust whose root and policy keys are elsewhere, 2 of 3 each."""
    empty.root, empty.policy = three_keys(), three_keys()
    proposal = empty.create(empty.root.who, empty.policy.who)
    assert not proposal.published
    assert not signed_by(empty, proposal, *empty.root.signers[:2]).published
    assert signed_by(empty, proposal, *empty.policy.signers[:2]).published
    return empty


@pytest.mark.parametrize("name", ["root", "policy", "policy-online", "assignment-online"])
def test_clients_follow_when_a_key_is_replaced(trust, client, client_of, name) -> None:
    trust.assign({"h1": released(trust, b"1")})
    assert client.bundle("h1") == b"1"
    before = key_named(trust, name)
    assert rotated(trust, name).published
    assert key_named(trust, name) != before
    trust.assign({"h1": released(trust, b"2")})
    assert client.bundle("h1") == b"2"
    assert client_of(trust).bundle("h1") == b"2"


@pytest.mark.parametrize("name", ["root", "policy", "policy-online", "assignment-online"])
def test_a_replaced_key_signs_nothing_that_a_client_takes(trust, client, tmp_path, name) -> None:
    """Somebody has kept the key, and all of the files of before: they lead a client nowhere new."""
    released(trust)
    keys = tmp_path / "state/trust/keys"
    old = key_named(trust, name)
    kept = (keys / f"{old}.pem").read_bytes()
    rotated(trust, name)
    assert not (keys / f"{old}.pem").exists()
    client.floor()
    with trust.opened() as authority:
        root = authority.policy.root.signed
        targets = authority.policy.targets().signed
        assert old not in root.keys
        assert old not in (targets.delegations.keys if targets.delegations else {})
        assert old not in authority.assignment.root.signed.keys
    assert b"PRIVATE KEY" in kept


def test_nothing_is_published_below_the_threshold(empty) -> None:
    root, policy = three_keys(), three_keys()
    proposal = empty.create(root.who, policy.who)
    for signer in (root.signers[0], policy.signers[0], policy.signers[1]):
        assert not signed_by(empty, proposal, signer).published
        with pytest.raises(UsageError, match="no trust was set up"):
            empty.published()
    assert signed_by(empty, proposal, root.signers[2]).published
    assert empty.published().floor == 1


def test_two_of_three_sign_a_release_on_other_machines(offline, client_of) -> None:
    client = client_of(offline)
    with pytest.raises(Unsigned, match="waits for signatures") as waits:
        offline.add_release(b"b", digest=digest_of(b"b"))
    assert offline.find_release(digest_of(b"b")) is None
    proposal = waits.value.proposal
    (need,) = needs(proposal.change)
    assert (need.place.role, need.missing) == ("team-default", 2)
    assert {key.keyid for key in need.keys} == {s.public_key.keyid for s in offline.policy.signers}
    first = signed_by(offline, proposal, offline.policy.signers[1])
    assert [need.missing for need in needs(first.change)] == [1]
    assert signed_by(offline, proposal, offline.policy.signers[2]).published
    release = offline.find_release(digest_of(b"b"))
    offline.assign({"h1": (release.name, release.digest)})
    assert client.bundle("h1") == b"b"


def test_a_client_refuses_what_one_of_two_signed(offline, client_of) -> None:
    """The client's rule, not only ours: published by hand below the threshold."""
    client = client_of(offline)
    with offline.opened() as authority:
        metadata = Metadata.from_bytes(authority.policy.read(authority.policy.name_of("targets")))
        metadata.signed.version += 1
        metadata.sign(offline.policy.signers[0])
        publish(authority.online, Update(POLICY_REPOSITORY, {"targets": metadata}), authority.policy)
    with pytest.raises(UnsignedMetadataError):
        client.floor()


def test_a_lost_key_of_three_is_revoked_by_the_other_two(offline, client_of) -> None:
    client = client_of(offline)
    lost = offline.root.signers[0].public_key.keyid
    proposal = offline.edit("revoke", lambda draft, _: ceremony.replace(draft, lost, None))
    assert {place.role for place in proposal.change.documents} == {"root"}
    assert signed_by(offline, proposal, *offline.root.signers[1:]).published
    assert client.floor() == 1
    with offline.opened() as authority:
        for view in (authority.policy, authority.assignment):
            assert lost not in view.root.signed.keys


def test_a_revoked_key_counts_no_more(offline) -> None:
    stolen = offline.policy.signers[0]
    proposal = offline.edit("revoke", lambda d, _: ceremony.replace(d, stolen.public_key.keyid, None))
    # What the stolen key had signed is signed again by the others.
    assert {place.role for place in proposal.change.documents} == {"root", "targets"}
    assert not signed_by(offline, proposal, *offline.root.signers[:2]).published
    assert signed_by(offline, proposal, *offline.policy.signers[1:]).published
    with pytest.raises(Unsigned) as waits:
        offline.add_release(b"b", digest=digest_of(b"b"))
    assert not signed_by(offline, waits.value.proposal, stolen, offline.policy.signers[1]).published


def test_a_key_is_not_revoked_below_the_threshold(trust) -> None:
    old = key_named(trust, "root")
    with pytest.raises(UsageError, match=r"too few keys would be left for root \(0 of the 1"):
        trust.edit("revoke", lambda draft, _: ceremony.replace(draft, old, None))
    assert key_named(trust, "root") == old


def test_from_one_key_here_to_two_of_three_elsewhere(trust, client) -> None:
    """The way from the embedded default to production."""
    trust.assign({"h1": released(trust)})
    root = three_keys()
    for number, signer in enumerate(root.signers):
        key = signer.public_key
        assert trust.edit("add", lambda d, _, key=key: ceremony.add(d, key, ["root"], None)).published, number
    old = key_named(trust, "root")
    last = root.signers[2].public_key

    def raise_threshold(draft, _) -> None:
        ceremony.replace(draft, old, None)
        ceremony.add(draft, last, ["root"], 2)

    proposal = trust.edit("two of three", raise_threshold)
    assert not proposal.published
    assert signed_by(trust, proposal, root.signers[0], root.signers[1]).published
    assert client.bundle("h1") == b"a bundle"


@pytest.mark.parametrize(
    ("names", "threshold", "said"),
    [
        (["nobody", "team-none"], None, "there is no role 'nobody'; there is no role 'team-none'"),
        (["root"], 3, "root has 2 key\\(s\\), so no threshold of 3"),
        (["policy-online"], 2, "policy-online is signed by one key"),
    ],
)
def test_a_key_that_cannot_be_added_is_refused_with_every_reason(trust, names, threshold, said) -> None:
    key = CryptoSigner.generate_ed25519().public_key
    before = trust.published().anchor()
    with pytest.raises(UsageError, match=said):
        trust.edit("add", lambda draft, _: ceremony.add(draft, key, names, threshold))
    assert trust.published().anchor() == before


def test_a_team_gets_keys_of_its_own(trust, client) -> None:
    team = three_keys()
    proposal = trust.edit("team", lambda draft, _: ceremony.delegate(draft, "research", team.who))
    assert proposal.published
    with pytest.raises(Unsigned) as waits:
        released(trust, b"theirs", "research")
    assert not signed_by(trust, waits.value.proposal, team.signers[0]).published
    assert signed_by(trust, waits.value.proposal, team.signers[1]).published
    release = trust.find_release(digest_of(b"theirs"), team="research")
    trust.assign({"h1": (release.name, release.digest)})
    assert client.bundle("h1") == b"theirs"


def test_new_keys_of_a_team_sign_its_releases_again(trust, client) -> None:
    first, second = local_key(trust, "first"), local_key(trust, "second")
    for who in (first, second):
        trust.edit("team", lambda draft, _, who=who: ceremony.delegate(draft, "research", who))
        trust.assign({"h1": released(trust, b"theirs", "research")})
        assert client.bundle("h1") == b"theirs"


def test_numbers_that_wait_for_signatures_are_not_given_again(offline) -> None:
    theirs = local_key(offline, "research")
    proposal = offline.edit("team", lambda draft, _: ceremony.delegate(draft, "research", theirs))
    assert signed_by(offline, proposal, *offline.policy.signers[:2]).published
    with pytest.raises(Unsigned):
        released(offline, b"1")
    assert released(offline, b"2", "research")[0].number == 2


def test_one_change_at_a_time_to_one_document(offline) -> None:
    with pytest.raises(Unsigned):
        released(offline, b"1")
    with pytest.raises(UsageError, match=r"waits already: release policies/default/1.tar"):
        released(offline, b"2")
    with offline.opened() as authority:
        (waiting,) = authority.pending()
    offline.drop(waiting)
    with pytest.raises(Unsigned):
        released(offline, b"2")


def test_a_change_that_something_overtook_is_not_published(offline) -> None:
    """Signed for a root that is not in force any more: only dropping it is left."""
    with pytest.raises(Unsigned) as waits:
        released(offline, b"1")
    kept = waits.value.proposal.file.read_bytes()
    with offline.opened() as authority:
        (waiting,) = authority.pending()
    offline.drop(waiting)
    with pytest.raises(Unsigned) as other:
        released(offline, b"2")
    assert signed_by(offline, other.value.proposal, *offline.policy.signers[:2]).published
    waits.value.proposal.file.write_bytes(kept)
    with pytest.raises(TrustRefused, match="does not follow what is in force"):
        signed_by(offline, waits.value.proposal, *offline.policy.signers[:2])
    assert offline.find_release(digest_of(b"1")) is None


def test_a_change_that_would_leave_something_unsigned_is_not_published(offline, client_of) -> None:
    """Each is fine by itself: one takes a key away, the other has just been signed by it."""
    client, leaver = client_of(offline), CryptoSigner.generate_ed25519()
    keyid = leaver.public_key.keyid
    came = offline.edit("add", lambda d, _: ceremony.add(d, leaver.public_key, ["targets"], None))
    assert signed_by(offline, came, *offline.root.signers[:2]).published
    leaves = offline.edit("revoke", lambda d, _: ceremony.replace(d, keyid, None))
    assert {place.role for place in leaves.change.documents} == {"root"}
    who = local_key(offline, "research")
    team = offline.edit("team", lambda d, _: ceremony.delegate(d, "research", who))
    assert signed_by(offline, team, leaver, offline.policy.signers[0]).published
    with pytest.raises(TrustRefused, match="targets was signed by keys that this change takes away"):
        signed_by(offline, leaves, *offline.root.signers[:2])
    assert client.floor() == 1
    with offline.opened() as authority:
        assert [one.stale for one in status(authority).pending] == [True]
    offline.drop(leaves.change.id)
    again = offline.edit("revoke", lambda d, _: ceremony.replace(d, keyid, None))
    everybody = (*offline.root.signers, *offline.policy.signers)
    assert signed_by(offline, again, *everybody).published
    assert client.floor() == 1


def test_a_signature_of_a_stranger_or_over_something_else_is_not_joined(offline) -> None:
    with pytest.raises(Unsigned) as waits:
        released(offline, b"1")
    ours = waits.value.proposal.change
    (place,) = ours.documents
    forged = decode(encode(ours), "copy")
    forged.documents[place].sign(CryptoSigner.generate_ed25519(), append=True)
    real = sign(decode(encode(ours), "copy"), offline.policy.signers[:1])
    (signature,) = real.documents[place].signatures.values()
    other = offline.policy.signers[1].public_key.keyid
    forged.documents[place].signatures[other] = type(signature)(other, signature.signature)
    assert join(ours, forged).documents[place].signatures == {}
    assert len(join(ours, real).documents[place].signatures) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'default/1.tar"', b'default/7.tar"'),
        (b'"summary"', b'"summery"'),
        (b'"fleetbox_change": 1', b'"fleetbox_change": 2'),
        (b'"repository": "policy"', b'"repository": "other"'),
        (b"{", b"["),
    ],
)
def test_a_file_that_was_changed_is_no_change(offline, old, new) -> None:
    with pytest.raises(Unsigned) as waits:
        released(offline)
    data = waits.value.proposal.file.read_bytes()
    assert old in data
    with pytest.raises(TrustRefused, match="no change that can be signed"):
        decode(data.replace(old, new), "the file")


def test_what_is_shown_before_signing_is_read_from_the_documents(offline) -> None:
    digest = digest_of(b"b")
    with pytest.raises(Unsigned) as waits:
        offline.add_release(b"b", digest=digest)
    lying = waits.value.proposal.change._replace(summary="nothing of interest")
    assert f"  policies/default/1.tar is {digest}" in describe(lying)
    stolen = offline.policy.signers[0].public_key.keyid
    lines = "\n".join(describe(offline.edit("-", lambda d, _: ceremony.replace(d, stolen, None)).change))
    left = ", ".join(sorted(s.public_key.keyid[:12] for s in offline.policy.signers[1:]))
    assert f"targets is signed by 2 of {left} (was 2 of" in lines


def test_a_change_of_the_floor_is_shown_as_a_number(offline) -> None:
    for bundle in (b"1", b"2"):
        with pytest.raises(Unsigned) as waits:
            released(offline, bundle)
        assert signed_by(offline, waits.value.proposal, *offline.policy.signers[:2]).published
    with pytest.raises(Unsigned) as waits:
        offline.set_min_release(2)
    assert "  min_release.json min_release 2" in describe(waits.value.proposal.change)
    assert signed_by(offline, waits.value.proposal, *offline.policy.signers[:2]).published
    assert offline.published().floor == 2


def test_pending_changes_are_private(offline) -> None:
    with pytest.raises(Unsigned) as waits:
        released(offline)
    assert stat.S_IMODE(os.stat(waits.value.proposal.file).st_mode) == 0o600


@pytest.mark.parametrize("threshold", [0, 2])
def test_a_threshold_that_its_keys_cannot_meet_is_refused(empty, threshold) -> None:
    key = CryptoSigner.generate_ed25519().public_key
    with pytest.raises(UsageError, match=f"root: a threshold of {threshold} of 1 key"):
        empty.create(Signatories((key,), threshold))
    with pytest.raises(UsageError, match="no trust was set up"):
        empty.published()


@pytest.mark.parametrize("name", ["policy-online", "assignment-online"])
def test_a_lost_online_key_is_named_and_replaced(trust, client, tmp_path, name) -> None:
    trust.assign({"h1": released(trust, b"1")})
    assert client.bundle("h1") == b"1"
    (tmp_path / "state/trust/keys" / f"{key_named(trust, name)}.pem").unlink()
    with pytest.raises(TrustRefused, match=f"it takes one of: {name}"):
        trust.assign({"h1": released(trust, b"2")})
    assert client.bundle("h1") == b"1"
    assert rotated(trust, name).published
    trust.assign({"h1": released(trust, b"3")})
    assert client.bundle("h1") == b"3"


def test_a_second_online_key_goes_on_alone(trust, client, tmp_path) -> None:
    """A standby control machine has keys of its own; the first one's are gone."""
    for name in ("policy-online", "assignment-online"):
        key = local_key(trust, f"standby-{name}").keys[0]
        assert trust.edit(
            "add", lambda d, _, key=key, name=name: ceremony.add(d, key, [name], None)
        ).published
    trust.assign({"h1": released(trust, b"1")})
    for name in ("policy-online", "assignment-online"):
        (tmp_path / "state/trust/keys" / f"{key_named(trust, name)}.pem").unlink()
    trust.assign({"h1": released(trust, b"2")})
    assert client.bundle("h1") == b"2"


def test_a_change_whose_file_lies_about_what_is_in_force_is_not_published(trust, client) -> None:
    """A root that a stranger signed, in a file which says that the stranger's root is in force."""
    stranger = CryptoSigner.generate_ed25519()
    old = key_named(trust, "root")
    with trust.opened() as authority:
        base = authority.base()
        forged = Draft(base)
        ceremony.replace(forged, old, stranger.public_key)
        documents = forged.documents(authority.now, authority.lifetimes)
        lie = {place: documents.get(place, metadata) for place, metadata in base.items()}
        planted = sign(Change("planted", "2026-11-22T00:00:00Z", documents, lie), [stranger])
        assert needs(planted) == ()
        (authority.places.pending / f"{planted.id}.json").write_bytes(encode(planted))
    before = trust.published().anchor()
    with trust.opened() as authority:
        assert [one.stale for one in status(authority).pending] == [True]
    assert trust.published().anchor() == before
    assert client.floor() == 1
