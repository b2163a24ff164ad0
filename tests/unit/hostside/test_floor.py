"""The floor grows only, but for keys that are all taken away; what is on disk is read strictly."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbox.hostside import floor
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.floor import Floor, Signers
from fleetbox.hostside.release import Assignment, ReleaseInvalid

A, B = Signers(1, ("a",), 1), Signers(2, ("b",), 1)
HIGH = Floor(7, "policies/default/3.tar", "sha256:" + "0" * 64, "2026-11-22T02:00:00Z", 3).under(A, A)

times = st.datetimes().map(lambda time: f"{time:%Y-%m-%dT%H:%M:%SZ}".rjust(20, "0"))
numbers = st.integers(min_value=1, max_value=999_999_999)


@given(st.lists(st.tuples(times, numbers)))
def test_whatever_is_seen_it_never_sinks(seen: list[tuple[str, int]]) -> None:
    low = HIGH
    for issued, min_release in seen:
        raised = low.seen(issued, min_release)
        assert (raised.issued >= low.issued, raised.min_release >= low.min_release) == (True, True)
        assert raised.generation == low.generation
        low = raised


def test_the_same_keys_keep_it() -> None:
    assert HIGH.under(A, A) == HIGH


@pytest.mark.parametrize(
    "signers",
    [Signers(2, ("a", "b"), 1), Signers(2, ("a",), 1), Signers(2, ("a", "b", "c"), 1)],
    ids=["added", "same", "more added"],
)
def test_it_stays_while_a_key_of_before_is_enough(signers: Signers) -> None:
    kept = HIGH.under(signers, signers)
    assert (kept.generation, kept.issued, kept.min_release) == (7, HIGH.issued, 3)


def test_it_stays_where_some_of_the_old_keys_are_still_enough() -> None:
    low = Floor().under(Signers(2, ("a", "b", "c"), 2), A)._replace(generation=7)
    assert low.under(Signers(3, ("b", "c", "d"), 2), A).generation == 7
    assert low.under(Signers(3, ("c", "d", "e"), 2), A).generation == 0


def test_a_higher_threshold_is_one_that_old_signatures_miss() -> None:
    assert HIGH.under(Signers(2, ("a", "b"), 2), A).generation == 0


def test_each_repository_counts_for_itself() -> None:
    assert HIGH.under(B, A)[:5] == (0, "", "", "", 3)
    assert HIGH.under(A, B)[:5] == (*HIGH[:4], 0)


def test_an_older_root_file_never_counts() -> None:
    low = HIGH.under(B, A)
    with pytest.raises(HostError) as refused:
        low.under(A, A)
    assert refused.value.code == "rolled_back_metadata"


def test_it_is_written_as_it_is_read() -> None:
    taken = HIGH.accepted(Assignment("h", 8, "policies/red/9.tar", "sha256:" + "1" * 64, HIGH.issued))
    for one in (Floor(), HIGH, taken):
        assert floor.decode(floor.encode(one)) == one


@pytest.mark.parametrize(
    "change",
    [
        {"generation": True},
        {"generation": "7"},
        {"generation": 10**9},
        {"min_release": -1},
        {"release": "../../etc"},
        {"issued": "yesterday"},
        {"issued": 5},
        {"policy_keys": "a"},
        {"policy_keys": [1]},
        {"policy_keys": ["a"] * 1000},
        {"schema_version": 2},
        {"more": 1},
        {"digest": None},
    ],
)
def test_anything_else_on_disk_is_refused(change: dict[str, object]) -> None:
    fields = {**json.loads(floor.encode(HIGH)), **change}
    with pytest.raises((ValueError, ReleaseInvalid)):
        floor.decode(json.dumps(fields).encode())
