"""Attacks on what is sent: each is refused with its own reason, and what the host holds stays as it was.

The repositories are real and signed with real keys; the attacker is who changes them on the way, who kept old
files, or who has stolen a key.
"""

import tarfile
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fleetbox.hostside import delivery, release, sources, ustar
from fleetbox.hostside.delivery import Delivery
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.release import NUMBER_MAX
from fleetbox.hostside.sources import Sources
from tests.support import bundles
from tests.support.signed import HOST, NOW, Fleet, Published, TrustingHost

DAYS = timedelta(days=1)
YEARS = 365 * DAYS


@pytest.fixture
def fleet() -> Fleet:
    return Fleet({"root": 3, "targets": 2})


@pytest.fixture
def host(fleet: Fleet) -> Iterator[TrustingHost]:
    with TemporaryDirectory(prefix="fleetbox-tests-", dir="/dev/shm") as root:
        yield TrustingHost(Path(root), fleet)


@pytest.fixture
def first(fleet: Fleet, host: TrustingHost) -> Published:
    """Release 5, which the host has as generation 10."""
    published = fleet.release(5)
    host.take(fleet.assign(published, 10))
    return published


def changed(sent: Delivery, repository: str, name: str, content: bytes | None) -> Delivery:
    """`sent` with another content of a metadata file, or without it."""
    part = getattr(sent, repository)
    metadata = {**part.metadata, name: content}
    kept = {name: data for name, data in metadata.items() if data is not None}
    return sent._replace(**{repository: part._replace(metadata=kept)})


def assert_refused(host: TrustingHost, sent: Delivery | Sources | bytes, code: str, **options: object) -> str:
    """With `code`; nothing that a later delivery would be judged by has sunk. Returns the words."""
    before, held = host.floor(), host.held()
    refused = host.refusal(sent, **options)  # type: ignore[arg-type]
    assert refused.code == code, refused.message
    after = host.floor()
    assert after.generation == before.generation
    assert (after.min_release, after.issued) >= (before.min_release, before.issued)
    assert {name for name in host.held() if "trust" not in name} == {n for n in held if "trust" not in n} | (
        {"floor.json"} if "floor.json" in host.held() else set()
    )
    assert not [name for name in host.held() if "/." in f"/{name}"], "temporary files were left"
    return refused.message


def test_an_assignment_of_a_signed_release_is_taken(fleet: Fleet, host: TrustingHost) -> None:
    published = fleet.release(5)
    verified = host.take(fleet.assign(published, 10))
    assert (verified.digest, verified.generation) == (published.built.digest, 10)
    assert verified.release == published.name
    assert verified.bundle == published.built.tar
    assert host.floor().generation == 10


def test_a_delivery_without_the_bundle_names_its_digest(fleet: Fleet, host: TrustingHost) -> None:
    published = fleet.release(5)
    verified = host.verify(fleet.assign(published, 10)._replace(bundle=None))
    assert (verified.digest, verified.bundle) == (published.built.digest, None)


def test_what_a_release_is_not_narrower_than_comes_from_its_signature(
    fleet: Fleet, host: TrustingHost
) -> None:
    older, newer = fleet.release(5), fleet.release(6)
    fleet.policy.put(newer.target, newer.built.tar, release.encode_custom([older.built.digest]))
    fleet.policy.publish()
    assert host.verify(fleet.assign(newer, 1)).not_narrower_than == (older.built.digest,)


# Freeze


@pytest.mark.parametrize("repository", ["policy", "assignment"])
@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "root"])
def test_freeze_by_expired_metadata(fleet: Fleet, host: TrustingHost, repository: str, role: str) -> None:
    signed = getattr(fleet, repository)
    signed.expire(role, NOW - DAYS)
    if role == "root":
        signed.rotate()
    sent = fleet.assign(fleet.release(5), 1)
    assert repository in assert_refused(host, sent, "expired")


def test_freeze_by_old_files_that_were_good_then(fleet: Fleet, host: TrustingHost, first: Published) -> None:
    held_back = fleet.assign(fleet.release(6), 11)
    held = host.held()
    assert_refused(host, held_back, "expired", wall=NOW + 8 * DAYS)
    assert host.held() == held


def test_a_clock_years_ahead_refuses_and_says_so(fleet: Fleet, host: TrustingHost, first: Published) -> None:
    words = assert_refused(host, fleet.assign(first, 11), "expired", wall=NOW + 10 * YEARS)
    assert "clock" in words


def test_a_clock_years_behind_cannot_be_frozen(fleet: Fleet, host: TrustingHost, first: Published) -> None:
    """The host has seen what was signed on the 30th; files that expired on the 29th are old by that alone."""
    frozen = fleet.assign(fleet.release(6), 11)
    for repository in (fleet.policy, fleet.assignment):
        for role in ("timestamp", "snapshot", "targets"):
            repository.expire(role, NOW + 30 * DAYS)
    host.take(fleet.assign(fleet.release(7), 12, issued="2026-11-30T00:00:00Z"))
    assert_refused(host, frozen, "rolled_back_metadata", wall=NOW - 20 * YEARS)
    (host.state / "trust/metadata.tar").unlink()
    assert_refused(host, frozen, "expired", wall=NOW - 20 * YEARS)


def test_a_clock_years_behind_does_not_keep_a_host_from_what_is_new(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    assert host.take(fleet.assign(fleet.release(6), 11), wall=NOW - 20 * YEARS).generation == 11


def test_files_that_had_expired_when_their_assignment_was_issued(fleet: Fleet, host: TrustingHost) -> None:
    sent = fleet.assign(fleet.release(5), 1, issued="2026-12-01T00:00:00Z")
    assert_refused(host, sent, "expired", wall=NOW - 20 * YEARS)
    assert host.floor().issued == ""


# Rollback of metadata


@pytest.mark.parametrize("repository", ["policy", "assignment"])
def test_rollback_of_the_timestamp(
    fleet: Fleet, host: TrustingHost, first: Published, repository: str
) -> None:
    old = getattr(fleet.delivery(first), repository)
    fleet.policy.publish()
    newer = fleet.assign(first, 11)
    host.take(newer)
    assert_refused(host, newer._replace(**{repository: old}), "rolled_back_metadata")


def test_rollback_of_the_snapshot_behind_a_new_timestamp(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    """A thief of the timestamp's key alone."""
    fleet.policy.snapshot.signed.version -= 1
    fleet.policy.publish(roles=["timestamp"])
    assert_refused(host, fleet.assign(first, 11), "rolled_back_metadata")


def test_rollback_of_the_targets_behind_a_new_snapshot(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    """A thief of the snapshot's and the timestamp's keys."""
    fleet.policy.snapshot.signed.meta["targets.json"].version -= 1
    fleet.policy.publish(roles=["snapshot", "timestamp"])
    assert_refused(host, fleet.assign(first, 11), "rolled_back_metadata")


def test_a_role_that_disappears_from_the_snapshot(fleet: Fleet, host: TrustingHost) -> None:
    fleet.policy.delegate("policies/red", "policies/red/*")
    published = fleet.release(5)
    host.take(fleet.assign(published, 1))
    del fleet.policy.snapshot.signed.meta["policies/red.json"]
    fleet.policy.publish(roles=["snapshot", "timestamp"])
    assert_refused(host, fleet.assign(published, 2), "rolled_back_metadata")


def test_an_older_root_file_in_the_place_of_the_next(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    sent = changed(fleet.assign(first, 11), "policy", "2.root.json", fleet.policy.anchor())
    assert_refused(host, sent, "mix_and_match")


def test_root_files_that_the_host_has_seen_cannot_be_left_out_when_its_metadata_is_lost(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    """By then the keys that the first root file names may be anybody's."""
    before = fleet.assign(first, 11)
    fleet.policy.rotate("targets")
    fleet.policy.publish()
    host.take(fleet.assign(first, 12))
    (host.state / "trust/metadata.tar").unlink()
    assert "version 2" in assert_refused(host, before, "rolled_back_metadata")


# Fast-forward


def test_fast_forward_of_metadata_is_undone_by_new_keys(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    thief = fleet.assignment.copy()
    thief.timestamp.signed.version = thief.snapshot.signed.version = 2**31
    thief.publish()
    host.verify(fleet.delivery(first)._replace(assignment=thief.part()))
    assert_refused(host, fleet.assign(first, 11), "rolled_back_metadata")
    fleet.assignment.rotate("timestamp", "snapshot", "targets")
    assert host.take(fleet.assign(first, 11)).generation == 11


def test_fast_forward_of_generation_and_time_is_undone_by_new_keys(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    """A thief of the assignment key for a minute must not have a host for ever."""
    host.take(fleet.assign(first, NUMBER_MAX, issued="2026-11-28T00:00:00Z"))
    assert_refused(host, fleet.assign(first, 11, issued="2026-11-22T03:00:00Z"), "replayed")
    fleet.assignment.rotate("timestamp", "snapshot", "targets")
    host.take(fleet.assign(first, 11, issued="2026-11-22T04:00:00Z"))
    assert (host.floor().generation, host.floor().issued) == (11, "2026-11-22T04:00:00Z")


def test_new_keys_let_nothing_old_back(fleet: Fleet, host: TrustingHost, first: Published) -> None:
    old = fleet.assign(fleet.release(6), 11)
    fleet.assignment.rotate("timestamp", "snapshot", "targets")
    host.take(fleet.assign(first, 1))
    with_new_root = old._replace(
        assignment=old.assignment._replace(
            metadata={**old.assignment.metadata, "2.root.json": fleet.assignment.files["2.root.json"]}
        )
    )
    assert_refused(host, old, "wrong_key")
    assert_refused(host, with_new_root, "wrong_key")


def test_a_key_that_is_added_lets_the_floor_stay(fleet: Fleet, host: TrustingHost, first: Published) -> None:
    fleet.assignment.add_key("targets")
    assert_refused(host, fleet.assign(first, 9), "replayed")


# Mix and match, wrong keys, too few of them


def test_mix_and_match_of_a_new_timestamp_with_an_old_snapshot(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    old = fleet.policy.files[f"{fleet.policy.snapshot.signed.version}.snapshot.json"]
    sent = fleet.assign(fleet.release(6), 11)
    name = f"{fleet.policy.snapshot.signed.version}.snapshot.json"
    assert_refused(host, changed(sent, "policy", name, old), "mix_and_match")


def test_mix_and_match_of_a_new_snapshot_with_old_targets(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    old = fleet.policy.files[f"{fleet.policy.targets.signed.version}.targets.json"]
    sent = fleet.assign(fleet.release(6), 11)
    name = f"{fleet.policy.targets.signed.version}.targets.json"
    assert_refused(host, changed(sent, "policy", name, old), "mix_and_match")


def test_the_two_repositories_are_not_each_other(fleet: Fleet, host: TrustingHost) -> None:
    sent = fleet.assign(fleet.release(5), 1)
    assert_refused(host, sent._replace(policy=sent.assignment), "wrong_key")
    assert_refused(host, sent._replace(assignment=sent.policy), "wrong_key")


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
@pytest.mark.parametrize("repository", ["policy", "assignment"])
def test_wrong_keys(fleet: Fleet, host: TrustingHost, repository: str, role: str) -> None:
    thief = Fleet({"root": 3, "targets": 2})
    forged, signed = getattr(thief, repository), getattr(fleet, repository)
    sent = fleet.assign(fleet.release(5), 1)
    if role == "root":
        forged.rotate()
        sent = changed(sent, repository, "2.root.json", forged.files["2.root.json"])
    else:
        signed.signers[role] = forged.signers[role]
        signed.publish()
        sent = fleet.delivery()
    assert_refused(host, sent, "wrong_key")


def test_unsigned_metadata(fleet: Fleet, host: TrustingHost) -> None:
    fleet.policy.signers["targets"] = []
    assert_refused(host, fleet.assign(fleet.release(5), 1), "wrong_key")


def test_fewer_signatures_than_the_threshold(fleet: Fleet, host: TrustingHost) -> None:
    fleet.policy.signers["targets"].pop()
    assert "1/2" in assert_refused(host, fleet.assign(fleet.release(5), 1), "below_threshold")


def test_one_key_that_signs_twice_counts_once(fleet: Fleet, host: TrustingHost) -> None:
    fleet.policy.signers["targets"][1] = fleet.policy.signers["targets"][0]
    assert_refused(host, fleet.assign(fleet.release(5), 1), "below_threshold")


def test_a_root_file_signed_by_too_few_of_the_keys_before(fleet: Fleet, host: TrustingHost) -> None:
    sent = fleet.assign(fleet.release(5), 1)
    kept = fleet.policy.signers["root"][:2]
    fleet.policy.signers["root"] = kept
    fleet.policy.root.signed.version = 2
    fleet.policy.sign_root()
    sent = changed(sent, "policy", "2.root.json", fleet.policy.files["2.root.json"])
    assert_refused(host, sent, "below_threshold")


def test_a_host_without_anchors_takes_nothing(fleet: Fleet, host: TrustingHost) -> None:
    Path(host.places.under("/etc/fleetbox/trust/policy.root.json")).unlink()
    assert "policy.root.json" in assert_refused(host, fleet.assign(fleet.release(5), 1), "no_anchor")


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b'{"signed": {}, "signatures": []}'])
def test_an_anchor_that_is_no_root_file(fleet: Fleet, host: TrustingHost, content: bytes) -> None:
    Path(host.places.under("/etc/fleetbox/trust/assignment.root.json")).write_bytes(content)
    assert_refused(host, fleet.assign(fleet.release(5), 1), "no_anchor")


# Size and form


def test_endless_metadata(fleet: Fleet, host: TrustingHost) -> None:
    sent = fleet.assign(fleet.release(5), 1)
    timestamp = sent.policy.metadata["timestamp.json"] + b" " * 20_000
    assert_refused(host, changed(sent, "policy", "timestamp.json", timestamp), "too_large")


def test_an_endless_delivery_is_not_read_to_its_end(host: TrustingHost) -> None:
    class Endless(BytesIO):
        asked = 0

        def read(self, size: int | None = -1) -> bytes:
            assert size is not None
            assert size > 0
            self.asked += size
            return bytes(size)

    stdin = Endless()
    with pytest.raises(Exception, match="more than") as refused:
        delivery.receive(stdin)
    assert refused.value.code == "too_large"  # type: ignore[attr-defined]
    assert stdin.asked == delivery.LIMIT + 1


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 10_000, b"\xff\xfe", b'{"signed": 1, "signatures": []}']
)
def test_metadata_that_is_none(fleet: Fleet, host: TrustingHost, content: bytes) -> None:
    sent = fleet.assign(fleet.release(5), 1)
    assert_refused(host, changed(sent, "assignment", "timestamp.json", content), "malformed")


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json"])
def test_a_delivery_that_lacks_a_file(fleet: Fleet, host: TrustingHost, name: str) -> None:
    sent = fleet.assign(fleet.release(5), 1)
    assert name in assert_refused(host, changed(sent, "policy", name, None), "incomplete")


def test_a_delivery_that_lacks_the_assignment(fleet: Fleet, host: TrustingHost) -> None:
    sent = fleet.assign(fleet.release(5), 1)
    assert_refused(host, sent._replace(assignment=sent.assignment._replace(targets={})), "incomplete")


def test_a_signed_assignment_that_says_nonsense(fleet: Fleet, host: TrustingHost) -> None:
    fleet.assignment.put(release.assignment_target(HOST), b'{"schema_version": 1, "generation": 5}')
    fleet.assignment.publish()
    assert_refused(host, fleet.delivery(fleet.release(5)), "malformed")


def test_an_assignment_that_is_signed_to_be_huge(fleet: Fleet, host: TrustingHost) -> None:
    """It is refused for what is signed of it, before anybody asks for its bytes."""
    sent = fleet.assign(fleet.release(5), 1)
    fleet.assignment.put(release.assignment_target(HOST), bytes(release.FILE_LIMIT + 1))
    fleet.assignment.publish()
    part = fleet.assignment.copy()
    part.contents.clear()
    assert_refused(host, sent._replace(assignment=part.part()), "too_large")


def test_a_source_that_gives_another_file_than_was_signed(fleet: Fleet, host: TrustingHost) -> None:
    """A web server may; a delivery calls its files by their hash."""
    sent = fleet.assign(fleet.release(5), 1)
    [hashed] = sent.assignment.targets
    swapped = {hashed: sent.assignment.targets[hashed].replace(b'"generation":1', b'"generation":2')}
    tampered = sent._replace(assignment=sent.assignment._replace(targets=swapped))
    assert_refused(host, sources.sent(tampered), "digest_mismatch")


def test_a_signed_time_that_does_not_exist(fleet: Fleet, host: TrustingHost) -> None:
    assert_refused(host, fleet.assign(fleet.release(5), 1, issued="2026-13-41T00:00:00Z"), "malformed")


# What TUF leaves to us


def test_a_replayed_assignment(fleet: Fleet, host: TrustingHost, first: Published) -> None:
    """Even when all that TUF remembers is gone."""
    old = fleet.assign(fleet.release(6), 11)
    host.take(fleet.assign(fleet.release(7), 12))
    assert_refused(host, old, "rolled_back_metadata")
    (host.state / "trust/metadata.tar").unlink()
    assert_refused(host, old, "replayed")


def test_a_refused_replay_says_what_would_be_high_enough(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    refused = host.refusal(fleet.assign(fleet.release(6), 9))
    assert refused.code == "replayed"
    assert refused.answer["floor"]["generation"] == 10


def test_the_same_generation_with_another_release(fleet: Fleet, host: TrustingHost, first: Published) -> None:
    assert_refused(host, fleet.assign(fleet.release(6), 10), "replayed")


def test_the_same_assignment_again_is_taken_again(fleet: Fleet, host: TrustingHost, first: Published) -> None:
    sent = fleet.delivery(first)
    host.take(sent)
    held = host.held()
    assert host.take(sent).generation == 10
    assert host.held() == held


def test_an_assignment_that_was_not_accepted_can_be_tried_again(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    sent = fleet.assign(fleet.release(6), 11)
    assert host.verify(sent).generation == 11
    assert host.floor().generation == 10
    assert host.take(sent).generation == 11


def test_what_was_verified_before_something_newer_was_accepted_is_not_accepted_after_it(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    late = host.verify(fleet.assign(fleet.release(6), 11))
    host.take(fleet.assign(fleet.release(7), 12))
    with pytest.raises(HostError) as refused:
        host.accept(late)
    assert refused.value.code == "replayed"
    assert host.floor().generation == 12


def test_going_back_is_a_higher_generation_of_an_older_release(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    host.take(fleet.assign(fleet.release(6), 11))
    assert host.take(fleet.assign(first, 12)).release.number == 5


def test_a_release_below_min_release(fleet: Fleet, host: TrustingHost, first: Published) -> None:
    fleet.min_release(6)
    refused = host.refusal(fleet.assign(first, 11))
    assert refused.code == "below_min_release"
    assert refused.answer["floor"]["min_release"] == 6


def test_min_release_never_sinks(fleet: Fleet, host: TrustingHost, first: Published) -> None:
    fleet.min_release(6)
    host.take(fleet.assign(fleet.release(6), 11))
    fleet.min_release(1)
    assert_refused(host, fleet.assign(first, 12), "below_min_release")


def test_min_release_rises_also_when_the_assignment_is_refused(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    fleet.min_release(6)
    assert_refused(host, fleet.assign(first, 10), "below_min_release")
    assert host.floor().min_release == 6


def test_a_release_that_nobody_signed(fleet: Fleet, host: TrustingHost) -> None:
    published = fleet.release(5)
    words = assert_refused(
        host, fleet.assign(published, 1, release="policies/default/6.tar"), "unknown_release"
    )
    assert "policies/default/6.tar" in words


def test_an_assignment_of_another_digest_than_was_released(fleet: Fleet, host: TrustingHost) -> None:
    """A stolen assignment key cannot invent a policy."""
    forged = bundles.build("forged")
    sent = fleet.assign(fleet.release(5), 1, digest=forged.digest)
    assert_refused(host, sent._replace(bundle=forged.tar), "digest_mismatch")
    assert_refused(host, sent._replace(bundle=None), "digest_mismatch")


@pytest.mark.parametrize(
    "tamper", [lambda tar: tar[:-1] + b"\1", lambda tar: tar + bytes(512), lambda tar: b""]
)
def test_a_tampered_bundle(fleet: Fleet, host: TrustingHost, tamper: object) -> None:
    published = fleet.release(5)
    sent = fleet.assign(published, 1)
    assert_refused(host, sent._replace(bundle=tamper(published.built.tar)), "digest_mismatch")  # type: ignore[operator]


def test_another_host_s_assignment(fleet: Fleet, host: TrustingHost) -> None:
    published = fleet.release(5)
    assert_refused(host, fleet.assign(published, 1, host="host-2", at="host-2"), "wrong_host")
    assert_refused(host, fleet.assign(published, 1, host="host-2"), "wrong_host")


def test_another_team_s_release(fleet: Fleet, host: TrustingHost) -> None:
    fleet.policy.delegate("policies/red", "policies/red/*")
    published = fleet.release(5, team="red", role="policies/red")
    assert "red" in assert_refused(host, fleet.assign(published, 1), "wrong_team")


def test_a_team_of_this_host(fleet: Fleet, tmp_path: Path) -> None:
    host = TrustingHost(tmp_path, fleet, teams=["blue", "red"])
    fleet.policy.delegate("policies/red", "policies/red/*")
    published = fleet.release(5, team="red", role="policies/red")
    assert host.take(fleet.assign(published, 1)).release.team == "red"


def test_a_team_cannot_sign_for_another(fleet: Fleet, host: TrustingHost) -> None:
    fleet.policy.delegate("policies/red", "policies/red/*")
    published = fleet.release(5, role="policies/red")
    assert_refused(host, fleet.assign(published, 1), "unknown_release")


def test_a_team_cannot_lower_what_everybody_signed(fleet: Fleet, host: TrustingHost) -> None:
    fleet.min_release(6)
    fleet.policy.delegate("policies/red", "*")
    fleet.policy.put(release.FLOOR_TARGET, release.encode_floor(1), role="policies/red")
    fleet.policy.contents[release.FLOOR_TARGET] = release.encode_floor(6)
    assert_refused(host, fleet.assign(fleet.release(5), 1), "below_min_release")


# The tar


HOSTILE = {
    "parent": "policy/metadata/../../../etc/cron.d/x.json",
    "absolute": "/etc/cron.d/x",
    "other folder": "policy/other/timestamp.json",
    "other repository": "director/metadata/timestamp.json",
    "below a file": "policy/metadata/a.json/x",
    "deeper": "policy/metadata/a/timestamp.json",
    "no name": "policy/metadata/",
    "hidden": "policy/metadata/.timestamp.json",
    "not metadata": "policy/metadata/timestamp.sh",
    "a target by name": "policy/targets/min_release.json",
    "second bundle": "bundle.tar.gz",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_tar_with_a_name_that_no_delivery_has(fleet: Fleet, host: TrustingHost, name: str) -> None:
    members = dict(ustar.read(delivery.write(fleet.assign(fleet.release(5), 1))))
    assert_refused(host, ustar.write(sorted({**members, name: b"x"}.items())), "malformed")


KINDS = {
    "symlink": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "pipe": tarfile.FIFOTYPE,
    "directory": tarfile.DIRTYPE,
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_tar_with_an_entry_that_is_no_plain_file(fleet: Fleet, host: TrustingHost, kind: bytes) -> None:
    buffer = BytesIO(delivery.write(fleet.assign(fleet.release(5), 1)))
    with tarfile.open(fileobj=buffer, mode="a", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo("policy/metadata/timestamp.json")
        entry.type, entry.linkname = kind, "/etc/shadow"
        tar.addfile(entry)
    assert_refused(host, buffer.getvalue(), "malformed")


def test_a_tar_with_a_file_twice(fleet: Fleet, host: TrustingHost) -> None:
    members = ustar.read(delivery.write(fleet.assign(fleet.release(5), 1)))
    assert_refused(host, ustar.write([*members, members[-1]]), "malformed")


def test_a_tar_that_is_cut_off(fleet: Fleet, host: TrustingHost) -> None:
    data = delivery.write(fleet.assign(fleet.release(5), 1))
    assert_refused(host, data[: len(data) // 2], "malformed")


def test_too_many_files(fleet: Fleet, host: TrustingHost) -> None:
    members = dict(ustar.read(delivery.write(fleet.assign(fleet.release(5), 1))))
    many = {f"policy/metadata/{number}.root.json": b"x" for number in range(1000)}
    assert_refused(host, ustar.write(sorted({**members, **many}.items())), "too_large")


# The floor itself


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[" * 60_000, b'{"schema_version": 1, "generation": -1}', b"\xff"]
)
def test_a_damaged_floor_refuses_everything(
    fleet: Fleet, host: TrustingHost, first: Published, content: bytes
) -> None:
    (host.state / "floor.json").write_bytes(content)
    refused = host.refusal(fleet.assign(first, 11))
    assert refused.code == "floor_damaged"
    assert "floor.json" in refused.message
    assert (host.state / "floor.json").read_bytes() == content


def test_a_floor_that_others_can_write_is_refused(fleet: Fleet, host: TrustingHost, first: Published) -> None:
    (host.state / "floor.json").chmod(0o666)
    with pytest.raises(Exception, match="can be written by others"):
        host.verify(fleet.assign(first, 11))


def test_lost_or_damaged_metadata_is_made_anew(fleet: Fleet, host: TrustingHost, first: Published) -> None:
    sent = fleet.assign(first, 11)
    for content in (b"", b"garbage" * 1000, None):
        path = host.state / "trust/metadata.tar"
        path.unlink() if content is None else path.write_bytes(content)
        assert host.verify(sent).generation == 11
        assert [name for name, _ in ustar.read(path.read_bytes()) if name == "policy/timestamp.json"]


def test_a_new_root_stays_known_when_the_rest_is_refused(
    fleet: Fleet, host: TrustingHost, first: Published
) -> None:
    fleet.policy.rotate("targets")
    fleet.policy.publish()
    sent = fleet.assign(first, 11)
    assert_refused(host, changed(sent, "policy", "timestamp.json", None), "incomplete")
    without_root = changed(sent, "policy", "2.root.json", None)
    assert host.take(without_root).generation == 11
