"""A file system whose names are longer than NAME_MAX, as those of vfat, NTFS and FUSE can be: a FUSE server.

It holds one directory, and in that one another named `.git`; both can be looked at and nothing else.
As root: `python -m tests.support.long_names PLACE LENGTH`; it says `mounted` and serves until it is ended.
"""

import ctypes
import os
import struct
import sys

ROOT, LONG, GIT = 1, 2, 3
LOOKUP, FORGET, GETATTR, RELEASE = 1, 2, 3, 18
INIT, OPENDIR, READDIR, RELEASEDIR, BATCH_FORGET = 26, 27, 28, 29, 42
ENOENT, ENOSYS = 2, 38


def attributes(node: int) -> bytes:
    return struct.pack("<6Q10I", node, *[0] * 8, 0o40777, *[2, 0, 0, 0, 4096, 0])


def entry(node: int) -> bytes:
    return struct.pack("<4Q2I", node, *[0] * 5) + attributes(node)


def listing(body: bytes, node: int, name: bytes) -> bytes:
    _, offset = struct.unpack_from("<QQ", body)
    if offset or node != ROOT:
        return b""
    record = struct.pack("<QQII", LONG, 1, len(name), 4) + name
    return record + b"\0" * (-len(record) % 8)


def answer(call: int, node: int, body: bytes, name: bytes) -> bytes | int:
    """The answer to one call, or its errno."""
    if call == INIT:
        return struct.pack("<4I2H2I2H8I", 7, 31, 65536, 0, 0, 0, 65536, 1, 0, 0, *[0] * 8)
    if call == GETATTR:
        return struct.pack("<Q2I", 0, 0, 0) + attributes(node)
    if call == LOOKUP:
        found = {(ROOT, name): LONG, (LONG, b".git"): GIT}.get((node, body.rstrip(b"\0")))
        return entry(found) if found else ENOENT
    if call == OPENDIR:
        return struct.pack("<Q2I", 1, 0, 0)
    if call == READDIR:
        return listing(body, node, name)
    return b"" if call in (RELEASE, RELEASEDIR) else ENOSYS


def serve(place: str, name: bytes) -> None:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40777,user_id=0,group_id=0,allow_other".encode()
    if ctypes.CDLL(None, use_errno=True).mount(b"none", place.encode(), b"fuse", 0, options):
        raise OSError(ctypes.get_errno(), "cannot mount")
    print("mounted", flush=True)
    while request := os.read(device, 1 << 17):
        _, call, unique, node = struct.unpack_from("<IIQQ", request)
        if call not in (FORGET, BATCH_FORGET):
            done = answer(call, node, request[40:], name)
            data, problem = (b"", done) if isinstance(done, int) else (done, 0)
            os.write(device, struct.pack("<IiQ", 16 + len(data), -problem, unique) + data)


if __name__ == "__main__":
    serve(sys.argv[1], b"n" * int(sys.argv[2]))
