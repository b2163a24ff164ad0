"""What the launcher is as a file: static, at another address each time, nothing writable and executable."""

import struct
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[2] / "fleetbox" / "bin"
PROGRAMS = sorted(BIN.glob("fleetbox-run-linux-*"))
ET_DYN = 3
PT_INTERP, PT_GNU_STACK, PT_GNU_RELRO = 3, 0x6474E551, 0x6474E552
PF_X, PF_W = 1, 2


def segments(program: bytes) -> dict[int, list[int]]:
    """The flags of the segments of each type."""
    start, size, count = (
        struct.unpack_from("<Q", program, 32)[0],
        *struct.unpack_from("<HH", program, 54),
    )
    found: dict[int, list[int]] = {}
    for index in range(count):
        kind, flags = struct.unpack_from("<II", program, start + index * size)
        found.setdefault(kind, []).append(flags)
    return found


def test_there_is_one() -> None:
    assert PROGRAMS


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_it_is_hardened(path: Path) -> None:
    program = path.read_bytes()
    found = segments(program)
    assert struct.unpack_from("<H", program, 16)[0] == ET_DYN
    assert PT_INTERP not in found
    assert PT_GNU_RELRO in found
    assert found[PT_GNU_STACK] == [flags for flags in found[PT_GNU_STACK] if not flags & PF_X]
    assert not [flags for kind in found.values() for flags in kind if flags & PF_X and flags & PF_W]
