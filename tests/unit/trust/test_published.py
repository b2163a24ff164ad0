"""What is published verifies with python-tuf's own client, and what was not signed as it must be does not."""

import json
import os
import stat
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadError, RepositoryError, UnsignedMetadataError
from tuf.api.metadata import Metadata, TargetFile, Targets

from fleetbox.errors import TrustRefused, UsageError
from fleetbox.hostside.bundle import digest_of
from fleetbox.hostside.release import POLICY_REPOSITORY, decode_custom
from fleetbox.trust import Trust, ceremony
from fleetbox.trust.publish import Update, publish
from fleetbox.trust.roles import Signatories
from tests.unit.trust.client import Client
from tests.unit.trust.conftest import local_key, released


def test_a_client_that_has_only_the_anchor_gets_floor_assignment_and_bundle(trust, client) -> None:
    which = released(trust, b"the bundle")
    trust.assign({"h1": which})
    assert client.floor() == 1
    assert client.assignment("h1")._replace(issued="") == ("h1", 1, "policies/default/1.tar", which[1], "")
    assert client.bundle("h1") == b"the bundle"


def test_one_client_follows_every_operation(trust, client, clock) -> None:
    for number in range(1, 4):
        trust.assign({"h1": released(trust, b"%d" % number)})
        assert client.bundle("h1") == b"%d" % number
        clock.turn(hours=1)
    trust.set_min_release(3)
    assert client.floor() == 3


def test_numbers_go_on_over_all_teams(trust, client) -> None:
    who = local_key(trust, "research")
    assert trust.edit("a team", lambda draft, _: ceremony.delegate(draft, "research", who)).published
    names = [released(trust, b"%d" % n, team)[0] for n, team in enumerate(("default", "research", "default"))]
    assert names == [("default", 1), ("research", 2), ("default", 3)]
    trust.assign({"h1": (names[1], digest_of(b"1"))})
    assert client.bundle("h1") == b"1"


def with_team(trust: Trust, team: str, signer: CryptoSigner) -> None:
    who = Signatories((signer.public_key,))
    assert trust.edit("a team", lambda draft, _: ceremony.delegate(draft, team, who)).published


def test_a_release_says_of_which_bundles_it_takes_nothing_away(trust, client) -> None:
    digest, other = digest_of(b"b"), digest_of(b"other")
    name = trust.add_release(b"b", digest=digest, not_narrower_than=[other])
    assert trust.published().releases()[name].not_narrower_than == (other,)
    found = client.updater(POLICY_REPOSITORY).get_targetinfo("policies/default/1.tar")
    assert found is not None
    assert decode_custom(found.custom) == (other,)


def test_a_release_whose_digest_is_another_is_refused_and_nothing_is_added(trust) -> None:
    with pytest.raises(TrustRefused, match="the bundle is sha256:"):
        trust.add_release(b"b", digest=digest_of(b"another"))
    assert trust.published().releases() == {}


def test_the_newest_release_of_a_bundle_is_found_and_none_below_the_floor(trust) -> None:
    first, _ = released(trust, b"b")
    again, digest = released(trust, b"b")
    assert (first.number, again.number) == (1, 2)
    assert trust.find_release(digest).name == again
    assert trust.find_release(digest_of(b"never")) is None
    released(trust, b"c")
    trust.set_min_release(3)
    assert trust.find_release(digest) is None


def test_the_floor_rises_and_never_falls_nor_passes_the_newest_release(trust) -> None:
    for bundle in (b"1", b"2", b"3"):
        released(trust, bundle)
    trust.set_min_release(2)
    for wrong in (1, 4):
        with pytest.raises(UsageError, match="the floor can be 2 to 3"):
            trust.set_min_release(wrong)
    assert trust.published().floor == 2


def test_releases_below_the_floor_are_forgotten_with_the_next_one(trust) -> None:
    for bundle in (b"1", b"2", b"3"):
        released(trust, bundle)
    trust.set_min_release(3)
    assert released(trust, b"4")[0].number == 4
    assert sorted(name.number for name in trust.published().releases()) == [3, 4]


def test_a_client_refuses_a_repository_signed_by_other_keys(trust, tmp_path, clock) -> None:
    stranger = Trust(tmp_path / "stranger", now=clock)
    stranger.create()
    client = Client(tmp_path / "host", tmp_path / "stranger" / "trust", trust.published().anchor())
    with pytest.raises(UnsignedMetadataError):
        client.floor()


def republish(trust: Trust, role: str, change) -> None:
    """As somebody would who has the online keys, and the files: sign whatever, by the rules of no one."""
    with trust.opened() as authority:
        view = authority.policy
        metadata: Metadata[Targets] = Metadata.from_bytes(view.read(view.name_of(role)))
        metadata.signed.version += 1
        change(metadata, authority)
        publish(authority.online, Update(POLICY_REPOSITORY, {role: metadata}), authority.policy)


def test_a_release_that_the_online_key_signed_is_refused(trust, client) -> None:
    released(trust)

    def forge(metadata, authority) -> None:
        evil = TargetFile.from_data("policies/default/2.tar", b"evil")
        metadata.signed.targets[evil.path] = evil
        online = authority.policy.root.signed.keys[key_named_of(authority, "policy-online")]
        metadata.sign(authority.ring.signers([online])[0])

    republish(trust, "team-default", forge)
    with pytest.raises(UnsignedMetadataError):
        client.target(POLICY_REPOSITORY, "policies/default/2.tar")


def key_named_of(authority, name: str) -> str:
    return next(k for k in authority.policy.root.signed.keys if authority.ring.known(k).name == name)


def test_a_floor_that_the_online_key_signed_is_refused(trust, client) -> None:
    def forge(metadata, authority) -> None:
        online = authority.policy.root.signed.keys[key_named_of(authority, "policy-online")]
        metadata.sign(authority.ring.signers([online])[0])

    republish(trust, "targets", forge)
    with pytest.raises(UnsignedMetadataError):
        client.floor()


def test_a_team_cannot_sign_for_another_team_nor_a_floor(trust, client) -> None:
    theirs = CryptoSigner.generate_ed25519()
    with_team(trust, "research", theirs)

    def forge(metadata, authority) -> None:
        for path in ("policies/default/9.tar", "policies/research/9.tar", "min_release.json"):
            metadata.signed.targets[path] = TargetFile.from_data(path, b"theirs")
        metadata.sign(theirs)

    released(trust)
    first_of(trust, "research", theirs, forge)
    updater = client.updater(POLICY_REPOSITORY)
    assert updater.get_targetinfo("policies/research/9.tar") is not None
    assert updater.get_targetinfo("policies/default/9.tar") is None
    assert client.floor() == 1


def first_of(trust: Trust, team: str, signer: CryptoSigner, forge) -> None:
    with trust.opened() as authority:
        metadata = Metadata(Targets(expires=authority.now + authority.lifetimes.offline))
        forge(metadata, authority)
        publish(authority.online, Update(POLICY_REPOSITORY, {f"team-{team}": metadata}), authority.policy)


def test_a_repository_that_was_changed_on_disk_is_not_signed_on(trust, tmp_path) -> None:
    """Else the online key would bless what the policy keys never saw."""
    released(trust)
    newest = max((tmp_path / "state/trust/policy/metadata").glob("*.team-default.json"))
    data = json.loads(newest.read_bytes())
    data["signed"]["targets"]["policies/default/1.tar"]["hashes"]["sha256"] = "0" * 64
    newest.write_text(json.dumps(data))
    with pytest.raises(TrustRefused, match="does not verify"):
        released(trust, b"next")


def test_a_client_refuses_a_bundle_that_was_changed(trust, client, tmp_path) -> None:
    trust.assign({"h1": released(trust, b"good")})
    file = next((tmp_path / "state/trust/policy/targets/policies/default").glob("*.1.tar"))
    file.write_bytes(b"evil")
    with pytest.raises((RepositoryError, DownloadError)):
        client.bundle("h1")


def test_keys_and_their_directories_are_private_and_the_repositories_can_be_served(trust, tmp_path) -> None:
    released(trust)
    base = tmp_path / "state" / "trust"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in base.rglob("*")}
    private = [path for path in modes if path.parent.name in ("keys", "pending") or path.name == "lock"]
    assert {modes[path] for path in private} == {0o600}
    assert {modes[base / name] for name in ("keys", "pending")} == {0o700}
    served = [path for path in modes if "metadata" in path.parts or "targets" in path.parts]
    assert {modes[path] for path in served if path.is_dir()} == {0o755}
    assert {modes[path] for path in served if path.is_file()} == {0o644}


@pytest.mark.parametrize("name", ["", "keys", "policy/metadata", "assignment/targets"])
def test_directories_that_others_can_write_are_refused(trust, tmp_path, name) -> None:
    folder = tmp_path / "state/trust" / name
    os.chmod(folder, 0o777)  # noqa: S103 (what is refused)
    with pytest.raises(TrustRefused, match="can be written by others"):
        released(trust)


def test_a_directory_that_is_a_link_is_refused(trust, tmp_path) -> None:
    keys = tmp_path / "state/trust/keys"
    keys.rename(tmp_path / "elsewhere")
    keys.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TrustRefused, match="is a link"):
        released(trust)


def test_trust_is_set_up_once(trust) -> None:
    before = trust.published().anchor()
    with pytest.raises(UsageError, match="was set up"):
        trust.create()
    assert trust.published().anchor() == before


def test_nothing_is_made_where_there_is_no_trust(empty, tmp_path) -> None:
    for act in (lambda: released(empty), empty.published, empty.refresh, lambda: empty.set_min_release(1)):
        with pytest.raises(UsageError, match="no trust was set up"):
            act()
    assert not (tmp_path / "state").exists()


def test_an_unknown_team_has_no_releases(trust) -> None:
    with pytest.raises(UsageError, match="there is no team 'nobody'"):
        released(trust, team="nobody")
    with pytest.raises(UsageError, match="is no name of a team"):
        released(trust, team="../default")


def test_what_metadata_for_names_is_all_that_a_host_needs(trust, tmp_path) -> None:
    """A client is given these files and the bundle, and no others."""
    anchor = trust.published().anchor()
    which = released(trust, b"the bundle")
    trust.assign({f"h{number}": which for number in range(50)})
    trust.edit("rotate", lambda draft, a: rotate(draft, a, "root"))
    published, served = trust.published(), tmp_path / "served"
    for name, data in published.metadata_for("h7").items():
        (served / name).parent.mkdir(parents=True, exist_ok=True)
        (served / name).write_bytes(data)
    client = Client(tmp_path / "host", served, anchor)
    assert client.floor() == 1
    assert client.assignment("h7").host == "h7"
    found = client.updater(POLICY_REPOSITORY).get_targetinfo("policies/default/1.tar")
    assert found is not None
    assert found.hashes["sha256"] == which[1].removeprefix("sha256:")
    assert published.bundle(which[0]) == b"the bundle"
    fetched = set(client.files.fetched) - {"1.root.json"}
    assert fetched == {Path(name).name for name in published.metadata_for("h7")}


def rotate(draft, authority, name: str) -> None:
    old = next(k for k in ceremony.keys_of(draft) if authority.ring.known(k).name == name)
    ceremony.replace(draft, old, authority.ring.create(name))


def test_a_host_that_trusts_the_newest_root_is_given_no_older_ones(trust) -> None:
    trust.assign({"h1": released(trust)})
    trust.edit("rotate", lambda draft, a: rotate(draft, a, "root"))
    old = trust.published().metadata_for("h1")
    new = trust.published().metadata_for("h1", policy_root=2, assignment_root=2)
    assert {name for name in old if name not in new} == {
        "policy/metadata/2.root.json",
        "assignment/metadata/2.root.json",
    }


def test_one_view_stays_whole_while_others_publish(trust) -> None:
    trust.assign({"h1": released(trust, b"1")})
    before = trust.published()
    trust.assign({"h1": released(trust, b"2")})
    assert before.assignment("h1").release == "policies/default/1.tar"
    assert trust.published().assignment("h1").release == "policies/default/2.tar"
    assert len(before.metadata_for("h1")) == len(trust.published().metadata_for("h1"))
