"""A classic BPF interpreter, written from the kernel's documentation, not from the assembler under test."""

import struct
from typing import NamedTuple

EPERM, ENOSYS = 1, 38
ALLOW, KILL = "allow", "kill"


class Call(NamedTuple):
    """What the kernel shows a filter. Arguments are unsigned 64 bit; missing ones are 0."""

    number: int
    arguments: tuple[int, ...] = ()
    arch: int = 0

    def seccomp_data(self) -> bytes:
        words = [argument & (2**64 - 1) for argument in self.arguments] + [0] * (6 - len(self.arguments))
        return struct.pack("<IIQ6Q", self.number & (2**32 - 1), self.arch, 0x7F0000000000, *words)


def decide(program: bytes, call: Call) -> str | int:
    """`allow`, `kill`, or the errno that the caller gets."""
    data = call.seccomp_data()
    instructions = list(struct.iter_unpack("<HBBI", program))
    accumulator, at = 0, 0
    while True:
        code, yes, no, value = instructions[at]
        at += 1
        if code == 0x20:  # ld [value]
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x54:  # and #value
            accumulator &= value
        elif code == 0x06:  # ret #value
            return _answer(value)
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: accumulator & value != 0}
            at += yes if holds[code] else no


def _answer(value: int) -> str | int:
    match value & 0xFFFF0000:
        case 0x7FFF0000:
            return ALLOW
        case 0x80000000:
            return KILL
        case 0x00050000:
            return value & 0xFFFF
    raise AssertionError(f"an answer that no filter here gives: {value:#x}")
