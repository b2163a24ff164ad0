"""The tar of a bundle: one byte sequence for one set of files, written and read here.

A bundle is named by the hash of its bytes, so there must be exactly one way to write it. The reader uses
that: it takes name and size from a header, writes the header anew and compares. Links, devices, other
owners, modes, extensions and odd encodings need no rule of their own: their headers differ.
"""

from __future__ import annotations

from collections.abc import Iterable

_BLOCK = 512
_RECORD = 20 * _BLOCK
_NAME_MAX = 100
_PREFIX_MAX = 155
_SIZE_MAX = 8**11 - 1


class TarInvalid(Exception):
    """The bytes are not a bundle's tar; the text says where and why."""


def write(members: Iterable[tuple[str, bytes]]) -> bytes:
    """The tar of (name, content) pairs, in the order given: regular files, 0644, root, time 0."""
    out = bytearray()
    for name, content in members:
        out += _header(name, len(content)) + content + bytes(-len(content) % _BLOCK)
    out += bytes(2 * _BLOCK)
    return bytes(out + bytes(-len(out) % _RECORD))


def read(data: bytes) -> list[tuple[str, bytes]]:
    """The (name, content) pairs of `data`, in order. Raises `TarInvalid` for anything `write` cannot make."""
    members = []
    offset = 0
    while any(header := data[offset : offset + _BLOCK]):
        name, size = _name_and_size(header, offset)
        content = data[offset + _BLOCK : offset + _BLOCK + size]
        if len(content) != size:
            raise TarInvalid(f"truncated inside {name!r}")
        members.append((name, content))
        offset += _BLOCK + size + -size % _BLOCK
    if write(members) != data:
        raise TarInvalid("headers, padding or end of the archive are not canonical")
    return members


def _name_and_size(header: bytes, offset: int) -> tuple[str, int]:
    """Only what is needed to write the header again; the comparison decides whether it was right."""
    try:
        name = header[:_NAME_MAX].rstrip(b"\0").decode("ascii")
        prefix = header[345 : 345 + _PREFIX_MAX].rstrip(b"\0").decode("ascii")
        size = int(header[124:135].decode("ascii"), 8)
    except ValueError:
        raise TarInvalid(f"unreadable header at byte {offset}") from None
    whole = f"{prefix}/{name}" if prefix else name
    if size < 0 or _header(whole, size) != header:
        raise TarInvalid(f"{whole!r} is not a plain file as a bundle holds it")
    return whole, size


def _header(name: str, size: int) -> bytes:
    if size > _SIZE_MAX or not name.isascii():
        raise TarInvalid(f"{name!r} is too large or its name is not ASCII")
    prefix, last = _split(name)
    fields = (
        last.encode("ascii").ljust(_NAME_MAX, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,
        b"%011o\0" % size,
        b"00000000000\0",
        b" " * 8,
        b"0" + bytes(100),
        b"ustar\x0000",
        bytes(32 + 32 + 8 + 8),
        prefix.encode("ascii").ljust(_PREFIX_MAX, b"\0"),
        bytes(12),
    )
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _split(name: str) -> tuple[str, str]:
    """USTAR's (prefix, name): the shortest prefix that leaves a name of 100 bytes, as tarfile does."""
    if len(name) <= _NAME_MAX:
        return "", name
    parts = name.split("/")
    for count in range(1, len(parts)):
        prefix, last = "/".join(parts[:count]), "/".join(parts[count:])
        if len(last) <= _NAME_MAX and len(prefix) <= _PREFIX_MAX:
            return prefix, last
    raise TarInvalid(f"{name!r} is too long")
