"""A classic BPF assembler with labels, and its disassembler: nothing of seccomp is known here.

Jumps in classic BPF go forward only and reach 255 instructions. The assembler refuses what it cannot
encode, so that a program that grew too long is an error when a bundle is built, never a wrong jump.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

_INSTRUCTION = struct.Struct("<HBBI")  # struct sock_filter; both architectures are little endian
SIZE = _INSTRUCTION.size
_REACH = 255


class Code(IntEnum):
    """The instructions in use (linux/bpf_common.h, linux/filter.h)."""

    LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
    AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
    EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
    AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
    ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
    RETURN = 0x06  # BPF_RET | BPF_K


_JUMPS = {Code.EQUAL: "jeq", Code.AT_LEAST: "jge", Code.ANY_BIT: "jset"}
_PLAIN = {Code.LOAD: "ld", Code.AND: "and", Code.RETURN: "ret"}


@dataclass(frozen=True)
class Plain:
    """An instruction that does not jump."""

    code: Code
    value: int


@dataclass(frozen=True)
class Jump:
    """A comparison of the accumulator; an empty label means the next instruction."""

    code: Code
    value: int
    yes: str = ""
    no: str = ""


@dataclass(frozen=True)
class Label:
    """The place that jumps name."""

    name: str


@dataclass(frozen=True)
class Instruction:
    """One decoded `struct sock_filter`."""

    code: Code
    yes: int
    no: int
    value: int


def assemble(lines: Sequence[Plain | Jump | Label]) -> bytes:
    """The program as the kernel takes it. Raises ValueError for a label missing, behind, or out of reach."""
    places: dict[str, int] = {}
    program: list[Plain | Jump] = []
    for line in lines:
        if not isinstance(line, Label):
            program.append(line)
        elif line.name in places:
            raise ValueError(f"label {line.name} is set twice")
        else:
            places[line.name] = len(program)
    return b"".join(_encode(line, at, places) for at, line in enumerate(program))


def _encode(line: Plain | Jump, at: int, places: Mapping[str, int]) -> bytes:
    if isinstance(line, Plain):
        return _INSTRUCTION.pack(line.code, 0, 0, line.value)
    yes, no = (_distance(label, at, places) for label in (line.yes, line.no))
    return _INSTRUCTION.pack(line.code, yes, no, line.value)


def _distance(label: str, at: int, places: Mapping[str, int]) -> int:
    if not label:
        return 0
    if label not in places:
        raise ValueError(f"label {label} is not set")
    distance = places[label] - at - 1
    if not 0 <= distance <= _REACH:
        raise ValueError(f"label {label} is {distance} instructions away; a jump reaches 0 to {_REACH}")
    return distance


def decode(program: bytes) -> tuple[Instruction, ...]:
    """Raises ValueError for a length or an instruction that `assemble` would not write."""
    if not program or len(program) % SIZE:
        raise ValueError(f"{len(program)} bytes are not a whole number of instructions")
    return tuple(
        Instruction(Code(code), yes, no, value) for code, yes, no, value in _INSTRUCTION.iter_unpack(program)
    )


def disassemble(program: bytes, comments: Mapping[int, str]) -> str:
    """One line an instruction, jump targets as absolute numbers; `comments` is by line number."""
    return "".join(f"{line}\n" for line in _lines(decode(program), comments))


def _lines(program: Sequence[Instruction], comments: Mapping[int, str]) -> Iterator[str]:
    for at, instruction in enumerate(program):
        if instruction.code in _JUMPS:
            targets = f"{at + 1 + instruction.yes:3} else {at + 1 + instruction.no:3}"
            text = f"{at:3}  {_JUMPS[instruction.code]:4} {instruction.value:#010x}  {targets}"
        else:
            text = f"{at:3}  {_PLAIN[instruction.code]:4} {instruction.value:#010x}"
        yield f"{text:36}  ; {comments[at]}" if at in comments else text
