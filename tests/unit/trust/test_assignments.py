"""Which releases may be assigned, in which generation, and what one host has to read for it."""

import pytest

from fleetbox.errors import TrustRefused, UsageError
from fleetbox.hostside.bundle import digest_of
from fleetbox.hostside.release import NUMBER_MAX, POLICY_REPOSITORY, ReleaseName
from fleetbox.trust import ceremony, releases
from fleetbox.trust.publish import Update, publish
from tests.unit.trust.conftest import key_named, released


def test_every_assignment_has_a_higher_generation_than_any_before(trust) -> None:
    which = released(trust)
    generations = []
    for hosts in (("h1", "h2"), ("h3",), ("h1",)):
        made = trust.assign(dict.fromkeys(hosts, which))
        assert {assignment.host for assignment in made.values()} == set(hosts)
        generations += sorted({assignment.generation for assignment in made.values()})
    assert generations == [1, 2, 3]
    assert trust.published().assignment("h2").generation == 1
    assert trust.published().generation == 3


def test_a_raised_generation_stays_and_never_sinks(trust) -> None:
    which = released(trust)
    trust.raise_generation(40)
    trust.raise_generation(3)
    assert trust.published().generation == 40
    assert trust.assign({"h1": which})["h1"].generation == 41


def test_when_generations_have_run_out_nothing_is_signed_and_a_new_key_begins_anew(trust) -> None:
    which = released(trust)
    trust.raise_generation(NUMBER_MAX)
    with pytest.raises(TrustRefused, match=f"no generation above {NUMBER_MAX}") as refused:
        trust.assign({"h1": which})
    assert "rotate assignment-online" in refused.value.hint
    assert trust.published().assignment("h1") is None
    old = key_named(trust, "assignment-online")
    trust.edit("r", lambda draft, a: ceremony.replace(draft, old, a.ring.create("assignment-online")))
    assert trust.assign({"h1": which})["h1"].generation == 1


def test_when_version_numbers_have_run_out_nothing_is_published(trust) -> None:
    before = trust.published().anchor()
    with trust.opened() as authority, pytest.raises(TrustRefused, match="none above"):
        publish(authority.online, Update(POLICY_REPOSITORY, {}, step=NUMBER_MAX), authority.policy)
    assert trust.published().anchor() == before


def test_when_release_numbers_have_run_out_it_is_said() -> None:
    with pytest.raises(UsageError, match="no release number above"):
        releases.next_name("default", NUMBER_MAX)


def test_what_may_not_be_assigned_is_refused_with_every_reason_and_nothing_is_signed(trust) -> None:
    first, second, third = (released(trust, b"%d" % number) for number in (1, 2, 3))
    trust.set_min_release(2)
    before = trust.published().generation
    wanted = {
        "good": third,
        "low": first,
        "none": (ReleaseName("default", 9), third[1]),
        "team": (ReleaseName("nobody", 3), third[1]),
        "other": (second[0], digest_of(b"another")),
    }
    with pytest.raises(TrustRefused) as refused:
        trust.assign(wanted)
    for reason in (
        "policies/default/1.tar is below the floor, which is 2",
        "policies/default/9.tar was not signed",
        "policies/nobody/3.tar was not signed",
        f"policies/default/2.tar is {second[1]}, not",
    ):
        assert reason in refused.value.message
    assert trust.published().generation == before
    assert trust.published().assignment("good") is None


@pytest.mark.parametrize("host", ["", "../h1", "a/b", "-h", "h 1", "h\n", "x" * 300])
def test_a_host_that_cannot_be_named_is_refused(trust, host) -> None:
    with pytest.raises(TrustRefused, match="no assignment can be named"):
        trust.assign({host: released(trust)})


def test_a_host_without_an_assignment_is_given_nothing(trust) -> None:
    released(trust)
    with pytest.raises(UsageError, match="h1 has no assignment"):
        trust.published().metadata_for("h1")


def test_what_one_host_reads_grows_with_its_bin_and_not_with_the_fleet(trust) -> None:
    which = released(trust)

    def read_by_one(count: int) -> int:
        trust.assign({f"gpu{number:05}": which for number in range(count)})
        return sum(len(data) for data in trust.published().metadata_for("gpu00007").values())

    few, many = read_by_one(64), read_by_one(640)
    assert many - few < 576 * 150 / 8, "it reads what is meant for others"


def test_only_the_bins_of_the_hosts_are_signed_again(trust) -> None:
    which = released(trust)
    trust.assign({f"h{number}": which for number in range(40)})

    def versions() -> dict[str, int]:
        with trust.opened() as authority:
            return {name: meta.version for name, meta in authority.assignment.snapshot.signed.meta.items()}

    before = versions()
    trust.assign({"h1": which})
    after = versions()
    assert [name for name in after if after[name] != before[name]] == [
        name for name in after if after[name] == before[name] + 1
    ]
    assert sum(after[name] != before[name] for name in after) == 1
