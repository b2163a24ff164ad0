"""A trail on disk: durable, whole after every tear, bounded, and only ever appended to."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fleetbox.hostside import chain
from fleetbox.hostside.chain import Damage
from fleetbox.hostside.chain_check import Problem, check
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.trail import Limits, Trail


def trail_at(path: Path, *, file: int = 1 << 20, keep: int | None = None) -> Trail:
    return Trail(str(path), Limits(file, keep), directory_mode=0o750, file_mode=0o640)


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return trail_at(tmp_path / "audit")


def problems(trail: Trail) -> list[Problem]:
    with trail.entries() as row:
        return check(row, [head] if (head := trail.head()) else [])


def seqs(trail: Trail) -> list[int]:
    with trail.entries() as row:
        return [entry.seq for entry in row if not isinstance(entry, Damage)]


def files(trail: Trail) -> list[Path]:
    return sorted(Path(trail.path).iterdir())


def add(file: Path, data: bytes) -> None:
    file.write_bytes(file.read_bytes() + data)


def test_records_follow_each_other_and_nobody_else_reads_them(trail: Trail) -> None:
    assert trail.head() is None
    assert seqs(trail) == []
    heads = [trail.append("happened", {"n": n}) for n in range(5)]
    assert trail.head() == heads[-1]
    assert seqs(trail) == [1, 2, 3, 4, 5]
    assert problems(trail) == []
    assert stat.S_IMODE(os.stat(trail.path).st_mode) == 0o750
    assert [stat.S_IMODE(file.stat().st_mode) for file in files(trail)] == [0o640]


def test_every_prefix_of_the_last_line_is_survived_and_kept(tmp_path: Path) -> None:
    whole = trail_at(tmp_path / "whole")
    for n in range(3):
        whole.append("happened", {"n": n})
    data = files(whole)[0].read_bytes()
    begin = data.rindex(b"\n", 0, -1) + 1
    for end in range(begin + 1, len(data)):
        torn = trail_at(tmp_path / f"torn{end}")
        Path(torn.path).mkdir()
        (Path(torn.path) / files(whole)[0].name).write_bytes(data[:end])
        finished = end == len(data) - 1  # only the newline is not there
        assert [problem.code for problem in problems(torn)] == ([] if finished else ["torn"])
        assert torn.append("later", {}).seq == 4
        assert files(torn)[0].read_bytes().startswith(data[:end]), "what was there is still there"
        assert [(p.code, p.grave) for p in problems(torn)] == ([] if finished else [("torn", False)])


def test_a_tear_in_the_note_about_a_tear_is_one_more(tmp_path: Path) -> None:
    whole = trail_at(tmp_path / "whole")
    whole.append("happened", {})
    file = files(whole)[0]
    file.write_bytes(file.read_bytes() + b'{"ev')
    torn = file.read_bytes()
    whole.append("later", {})
    repaired = file.read_bytes()
    for end in range(len(torn), len(repaired)):
        file.write_bytes(repaired[:end])
        last = whole.append("at_last", {})
        assert problems(whole) == [p for p in problems(whole) if p.code == "torn"]
        assert seqs(whole) == list(range(1, last.seq + 1))


def test_the_last_record_is_found_before_any_amount_of_damage(tmp_path: Path) -> None:
    for size in (1, 10_000, 17_000, 300_000):
        trail = trail_at(tmp_path / str(size))
        head = trail.append("happened", {"text": "x" * 20_000})
        add(files(trail)[0], b"y" * (size // 2) + b"\n" + b"z" * (size // 2))
        assert trail.head() == head
        assert trail.append("later", {}).seq == 3
        assert seqs(trail) == [1, 2, 3]
        assert [(p.code, p.grave) for p in problems(trail)] == [("torn", False)]


def test_a_changed_last_record_is_followed_over_and_found(trail: Trail) -> None:
    for n in range(3):
        trail.append("happened", {"n": n})
    file = files(trail)[0]
    file.write_bytes(file.read_bytes().replace(b'"n":2', b'"n":7'))
    trail.append("later", {})
    assert [(p.code, p.grave) for p in problems(trail)] == [("changed", True)]


def test_a_trail_that_keeps_a_few_files_stays_whole_and_small(tmp_path: Path) -> None:
    small = trail_at(tmp_path / "audit", file=1000, keep=3)
    for n in range(60):
        small.append("happened", {"n": n})
        assert problems(small) == []
        assert len(files(small)) <= 3
    kept = seqs(small)
    assert kept[0] > 1
    assert kept == list(range(kept[0], kept[-1] + 1))
    assert max(file.stat().st_size for file in files(small)) <= 1300
    files(small)[0].unlink()
    assert [p.code for p in problems(small)] == ["cut_at_start"]


def test_a_trail_that_keeps_all_files_begins_with_its_first_record(tmp_path: Path) -> None:
    long = trail_at(tmp_path / "audit", file=1000)
    for n in range(30):
        long.append("happened", {"n": n})
    assert len(files(long)) > 5
    assert seqs(long) == list(range(1, 31))
    assert problems(long) == []
    files(long)[2].unlink()
    assert {p.code for p in problems(long)} == {"missing"}


def test_an_empty_file_and_a_torn_one_from_a_killed_rotation_are_gone_over(tmp_path: Path) -> None:
    for left in (b"", b'{"dig'):
        long = trail_at(tmp_path / f"audit{len(left)}", file=600)
        long.append("happened", {})
        (Path(long.path) / f"{2:016}.jsonl").write_bytes(left)
        assert long.append("happened", {}).seq == (3 if left else 2)
        assert [p.grave for p in problems(long)] == ([False] if left else [])


def test_a_torn_file_that_is_full_is_repaired_before_it_is_left(tmp_path: Path) -> None:
    long = trail_at(tmp_path / "audit", file=300)
    long.append("happened", {})
    add(files(long)[0], b'{"dig')
    long.append("happened", {})
    assert len(files(long)) == 2
    assert [(p.code, p.grave) for p in problems(long)] == [("torn", False)]


def test_a_record_that_is_larger_than_a_file_is_written(tmp_path: Path) -> None:
    small = trail_at(tmp_path / "audit", file=100)
    assert [small.append("happened", {"text": "x" * 1000}).seq for _ in range(3)] == [1, 2, 3]
    assert problems(small) == []


def test_processes_that_append_at_once_wait_for_each_other(trail: Trail) -> None:
    program = (
        "import sys; from fleetbox.hostside.trail import Limits, Trail\n"
        "trail = Trail(sys.argv[1], Limits(20_000, None), directory_mode=0o750, file_mode=0o640)\n"
        "for n in range(60): trail.append('happened', {'by': sys.argv[2], 'n': n})\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, trail.path, str(by)]) for by in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    assert seqs(trail) == list(range(1, 241))
    assert problems(trail) == []
    assert len(files(trail)) > 1


def test_two_records_of_one_number_are_found(tmp_path: Path) -> None:
    one, other = trail_at(tmp_path / "one"), trail_at(tmp_path / "other")
    one.append("happened", {})
    Path(other.path).mkdir()
    (Path(other.path) / files(one)[0].name).write_bytes(files(one)[0].read_bytes())
    one.append("happened", {"writer": 1})
    other.append("happened", {"writer": 2})
    last = files(other)[0].read_bytes().splitlines(keepends=True)[-1]
    add(files(one)[0], last)
    assert [p.code for p in problems(one)] == ["order"]


def _open_to_all(path: Path) -> None:
    path.chmod(0o777)


def _link_directory(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _link_file(path: Path) -> None:
    file = next(path.iterdir())
    file.rename(path.with_name("elsewhere"))
    file.symlink_to(path.with_name("elsewhere"))


def _open_file(path: Path) -> None:
    next(path.iterdir()).chmod(0o666)


@pytest.mark.parametrize("spoil", [_open_to_all, _link_directory, _link_file, _open_file])
def test_a_trail_that_others_may_write_or_that_leads_elsewhere_is_refused(trail: Trail, spoil) -> None:  # type: ignore[no-untyped-def]
    trail.append("happened", {})
    spoil(Path(trail.path))
    for ask in (trail.head, lambda: trail.append("happened", {})):
        with pytest.raises(HostError) as refused:
            ask()
        assert refused.value.code == "unsafe_trail"
    assert not (Path(trail.path).with_name("elsewhere") / "0000000000000002.jsonl").exists()


def test_a_long_damaged_line_is_read_in_bounds(trail: Trail) -> None:
    trail.append("happened", {})
    add(files(trail)[0], b"x" * (2 * chain.LINE_LIMIT + 17))
    trail.append("happened", {})
    assert [(p.code, p.grave) for p in problems(trail)] == [("torn", False)]
