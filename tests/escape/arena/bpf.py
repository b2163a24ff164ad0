"""The product's own seccomp filter, with single calls let through: what a control run loads.

An instruction is {u16 code, u8 jt, u8 jf, u32 k}. Taking a call out means that its comparison never matches.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection

_SIZE = 8
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_NEVER = 0x3FFFFFFF  # below the x32 bit, and no call's number


def without(program: bytes, numbers: Collection[int]) -> bytes:
    """The filter that does not look at these calls; each must be one that it looks at."""
    lines = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), _SIZE)]
    dispatch = next(
        at for at, (code, _, _, _) in enumerate(lines) if code == 0x06
    )  # the first return ends it
    left = set(numbers)
    for at, (code, yes, no, value) in enumerate(lines[3:dispatch], start=3):
        if code == _EQUAL and value in left:
            lines[at] = (code, yes, no, _NEVER)
            left.discard(value)
    if left:
        raise ValueError(f"the filter does not name {sorted(left)}")
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def in_memory(program: bytes) -> int:
    """A descriptor that reads as the program from its beginning."""
    fd = os.memfd_create("filter")
    os.write(fd, program)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
