"""The model of a disk that loses power: what is durable, what may be lost, and what nothing may leave."""

from __future__ import annotations

import random

import pytest

from tests.faults.lost_writes import (
    Create,
    Disk,
    Link,
    Mkdir,
    NotModelled,
    Operation,
    Remove,
    Rename,
    Symlink,
    Sync,
    Tree,
    Truncate,
    Write,
)

FILE = (Create("f"), Write("f", 0, b"data"))


def trees(*operations: Operation, limit: int = 1000) -> list[Tree]:
    return [crash.tree for crash in Disk.after(operations).crashes(random.Random(1), limit)]  # noqa: S311


def test_what_was_never_synced_may_be_there_whole_torn_or_not_at_all() -> None:
    found = trees(*FILE)
    assert sorted(found, key=repr) == [{"f": b""}, {"f": b"\0\0\0\0"}, {"f": b"da"}, {"f": b"data"}, {}]


def test_a_synced_file_may_lose_its_name_and_a_synced_name_its_content() -> None:
    assert sorted(trees(*FILE, Sync("f")), key=repr) == [{"f": b"data"}, {}]
    assert {"f": b""} in trees(*FILE, Sync(""))
    assert {} not in trees(*FILE, Sync(""))
    assert trees(*FILE, Sync("f"), Sync("")) == [{"f": b"data"}]


def test_a_sync_covers_what_came_before_it_only() -> None:
    after = (*FILE, Sync("f"), Sync(""), Write("f", None, b"!"))
    assert sorted(map(repr, trees(*after))) == ["{'f': b'data!'}", "{'f': b'data'}"]


def test_a_rename_leaves_the_old_or_the_new_and_never_both_or_neither() -> None:
    begun = (Symlink("a", "1"), Sync(""), Symlink("b", "2"), Sync(""))
    found = trees(*begun, Rename("b", "a"))
    assert found == [{"a": Link("1"), "b": Link("2")}, {"a": Link("2")}]


def test_changes_reach_the_disk_in_any_order() -> None:
    found = trees(Mkdir("first"), Mkdir("second"))
    assert {"second": None} in found, "the later without the earlier"


def test_names_in_a_directory_are_lost_with_its_own() -> None:
    assert {} in trees(Mkdir("d"), Create("d/f"), Sync("d"))
    assert {"d": None} in trees(Mkdir("d"), Sync(""), Create("d/f"))


def test_a_renamed_directory_takes_along_what_is_in_it() -> None:
    found = trees(Mkdir("t"), Create("t/f"), Sync("t"), Sync(""), Rename("t", "d"), Sync(""))
    assert found == [{"d": None, "d/f": b""}]


def test_a_removal_may_be_undone() -> None:
    kept = (Create("f"), Sync(""), Remove("f"))
    assert trees(*kept) == [{"f": b""}, {}]
    assert trees(*kept, Sync("")) == [{}]


def test_a_file_that_is_cut_or_extended_holds_zeros_where_nothing_was_written() -> None:
    assert Disk.after([*FILE, Truncate("f", 2), Write("f", 3, b"x")]).live() == {"f": b"da\0x"}


def test_many_choices_are_bounded_and_begin_with_the_extremes() -> None:
    many = [Create(f"f{number}") for number in range(20)]
    found = trees(*many, limit=10)
    assert len(found) <= 2 + 2 * 20 + 10
    assert found[0] == {}
    assert found[1] == Disk.after(many).live()
    assert {"f7": b""} in found, "each change alone kept"
    assert {name: b"" for name in Disk.after(many).live() if name != "f7"} in found, "and alone lost"


def test_what_it_does_not_know_is_refused() -> None:
    with pytest.raises(NotModelled, match="of whose making nothing was recorded"):
        Disk.after([Write("elsewhere", 0, b"x")])
    with pytest.raises(NotModelled, match="between directories"):
        Disk.after([Mkdir("d"), Create("f"), Rename("f", "d/f")])
