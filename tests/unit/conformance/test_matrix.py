"""The matrix can be read without colour, in any width, whatever hosts are called."""

from fleetbox.conformance.matrix import CELLS, LEGEND, Row, percent, render
from fleetbox.conformance.model import HostState, Status
from fleetbox.hostside.checks import CHECKS

ALL = {check.id: Status.PASS for check in CHECKS}
ROWS = [
    Row("gpu1", HostState.ANSWERED, "", "base", {**ALL, "FBX-FS-001": Status.FAIL}),
    Row("wsl1", HostState.REFUSED, "this is WSL1", "", {}),
]


def test_every_status_has_its_own_word_in_plain_letters() -> None:
    words = ["".join(letter for letter in cell if letter.isascii()).strip("?!-~ ") for cell in CELLS.values()]
    assert len(set(words)) == len(Status) == len(CELLS)
    assert all(words)


def test_every_check_is_a_column_once() -> None:
    text = "\n".join(render(ROWS, width=100))
    assert all(text.count(check.id.removeprefix("FBX-")) == 1 for check in CHECKS)
    assert text.count("✗ FAIL") == 1 + LEGEND.count("✗ FAIL")


def test_lines_keep_to_the_width() -> None:
    table = render(ROWS, width=60)
    assert max(map(len, table[: table.index(LEGEND)])) <= 60


def test_a_refused_host_is_a_row_with_its_reason() -> None:
    assert "wsl1  refused: this is WSL1" in render(ROWS)


def test_hostile_names_cannot_move_the_cursor() -> None:
    text = "\n".join(render([Row("a\x1b[2Jb\n", HostState.FAILED, "\x1b]0;x\x07", "", {})]))
    assert "\x1b" not in text
    assert "\x07" not in text


def test_percentages_never_round_up_to_all() -> None:
    assert percent(99.99) == "99.9 %"
    assert percent(100.0) == "100.0 %"
    assert percent(None) == "none"
