"""Disks of hosts with a kernel of their own: a suite's tree as a file system in a file, made once and only
read, and for QEMU the tree's kernel and first file system beside it.

Each host writes to a copy-on-write file of its own. Surprise: a file system stores owners as they are, so
the tree's shifted ids are shifted back in a copy before it is packed.
"""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

from tests.support.hosts import initrd as first
from tests.support.hosts import trees
from tests.support.hosts.errors import HostsError
from tests.support.hosts.namespaces import ID_BASE
from tests.support.hosts.spec import Kind, Suite

SIZE = 2 << 30
"""Of the disk; only what is written takes room on this machine."""
# The kernel's Documentation/arch/x86/boot.rst: where a bzImage says what it holds.
SETUP_SECTORS, HEADER, PAYLOAD = 0x1F1, 0x202, 0x248
ZSTD = b"\x28\xb5\x2f\xfd"


def image(suite: Suite, kind: Kind) -> Path:
    """Where the suite's disk is, or will be."""
    return trees.CACHE / "images" / f"{trees.tree(suite, kind).name}.ext4"


def kernel(suite: Suite, kind: Kind) -> Path:
    return image(suite, kind).with_suffix(".kernel")


def initrd(suite: Suite, kind: Kind) -> Path:
    return image(suite, kind).with_suffix(".initrd")


def ensure(suite: Suite, kind: Kind) -> Path:
    """The suite's disk, packed in some seconds when this machine has none yet."""
    done = image(suite, kind)
    if done.exists():
        return done
    tree = trees.ensure(suite, kind)
    with trees.building(done):
        # A kernel without privileges opens it: the folder is for everybody, the file for reading.
        done.parent.chmod(0o755)
        if not done.exists():
            if kind.emulated:
                kernel(suite, kind).write_bytes(_kernel(tree))
                initrd(suite, kind).write_bytes(first.build(tree))
            _pack(tree, done)
    return done


def _kernel(tree: Path) -> bytes:
    """Unpacked where we know how: an emulated machine takes seconds longer to do it."""
    [packed] = (tree / "boot").glob("vmlinuz-*")
    content = packed.read_bytes()
    if content[HEADER:].startswith(b"HdrS"):
        start = (content[SETUP_SECTORS] + 1) * 512
        offset, length = struct.unpack_from("<II", content, PAYLOAD)
        payload = content[start + offset :][:length]
        if payload.startswith(ZSTD):
            # The last four bytes are the length, for the boot loader.
            unpack = ["chroot", str(tree), "zstd", "-d", "-c"]
            return subprocess.run(unpack, input=payload[:-4], capture_output=True, check=True).stdout
    return content


def _pack(tree: Path, done: Path) -> None:
    copy, unfinished = done.with_suffix(".tree"), done.with_suffix(".unfinished")
    trees.remove(copy)
    copy.mkdir(mode=0o700)
    try:
        inside = copy / "root"
        subprocess.run(["cp", "--archive", "--reflink=auto", str(tree), str(inside)], check=True)
        trees.move_ids(inside, -ID_BASE)
        unfinished.unlink(missing_ok=True)
        with open(unfinished, "xb") as file:
            os.truncate(file.fileno(), SIZE)
        _run(["mkfs.ext4", "-q", "-m", "0", "-L", "root", "-d", str(inside), str(unfinished)])
        unfinished.chmod(0o444)
        unfinished.rename(done)
    finally:
        trees.remove(copy)


def _run(argv: list[str]) -> None:
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise HostsError(f"{argv[0]} is not installed", "apt-get install -y e2fsprogs") from error
    except subprocess.CalledProcessError as error:
        raise HostsError(f"no disk: {error.stderr.strip()}") from error
