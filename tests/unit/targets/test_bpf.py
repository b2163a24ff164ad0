"""The assembler encodes what it is given or refuses."""

import pytest

from fleetbox.targets.bubblewrap.bpf import (
    Code,
    Instruction,
    Jump,
    Label,
    Plain,
    assemble,
    decode,
    disassemble,
)

END = Plain(Code.RETURN, 0)


def test_labels_become_distances_from_the_next_instruction() -> None:
    program = assemble([Jump(Code.EQUAL, 7, yes="end"), Plain(Code.LOAD, 4), Label("end"), END])
    assert decode(program)[0] == Instruction(Code.EQUAL, yes=1, no=0, value=7)


@pytest.mark.parametrize(("between", "fits"), [(255, True), (256, False)])
def test_a_jump_out_of_reach_is_refused_instead_of_wrapping(between: int, fits: bool) -> None:
    lines = [Jump(Code.EQUAL, 7, yes="end"), *[Plain(Code.LOAD, 4)] * between, Label("end"), END]
    if fits:
        assert decode(assemble(lines))[0].yes == 255
    else:
        with pytest.raises(ValueError, match="256 instructions away"):
            assemble(lines)


def test_a_jump_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 instructions away"):
        assemble([Label("start"), Jump(Code.EQUAL, 7, yes="start"), END])


def test_a_label_that_is_missing_or_set_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="nowhere is not set"):
        assemble([Jump(Code.EQUAL, 7, yes="nowhere"), END])
    with pytest.raises(ValueError, match="set twice"):
        assemble([Label("end"), Label("end"), END])


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\xff" * 8])
def test_bytes_that_are_no_program_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"whole number|is not a valid Code"):
        decode(data)


def test_the_disassembly_shows_absolute_targets_and_comments() -> None:
    program = assemble([Jump(Code.EQUAL, 7, yes="end"), Plain(Code.LOAD, 4), Label("end"), END])
    assert disassemble(program, {0: "seven"}).splitlines() == [
        "  0  jeq  0x00000007    2 else   1    ; seven",
        "  1  ld   0x00000004",
        "  2  ret  0x00000000",
    ]
