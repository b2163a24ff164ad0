"""The first file system of an emulated machine: the modules that its disk and network need, and a shell.

Made from a tree without running anything of it, so that the tree may be of another architecture.
"""

from __future__ import annotations

import lzma
import re
import stat
from pathlib import Path

MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "unix_diag")
"""Debian's kernels for clouds have ext4 built in, and most the bus. The last one a kernel loads by itself,
when it is asked for sockets, but not on a foreign tree."""
APPLETS = ("sh", "insmod", "mount", "switch_root")
ROOT = "/dev/vda"
INIT = f"""\
#!/bin/sh
for module in {{modules}}; do insmod "/$module"; done
mount -t devtmpfs devtmpfs /dev
mount -t ext4 {ROOT} /root
mount --move /dev /root/dev
exec switch_root /root /usr/local/sbin/boot-host
"""


def build(tree: Path) -> bytes:
    """The archive, as the kernel unpacks it."""
    modules = _modules(tree)
    folders = [_member(name, stat.S_IFDIR | 0o755) for name in ("bin", "dev", "root")]
    busybox = _member("bin/busybox", stat.S_IFREG | 0o755, (tree / "usr/bin/busybox").read_bytes())
    applets = [_member(f"bin/{name}", stat.S_IFLNK | 0o777, b"busybox") for name in APPLETS]
    files = [_member(name, stat.S_IFREG | 0o644, content) for name, content in modules.items()]
    init = INIT.format(modules=" ".join(modules))
    members = [*folders, busybox, *applets, *files, _member("init", stat.S_IFREG | 0o755, init.encode())]
    return b"".join([*members, _member("TRAILER!!!", 0)])


def _modules(tree: Path) -> dict[str, bytes]:
    """Name and content, each after those that it needs."""
    [folder] = (tree / "usr/lib/modules").iterdir()
    there = {path.name.partition(".")[0]: path for path in folder.rglob("*.ko*")}
    found: dict[str, bytes] = {}

    def take(name: str) -> None:
        if name in there and f"{name}.ko" not in found:  # one that is not there is built in
            content = _unpacked(there[name])
            for needed in _needs(content):
                take(needed)
            found[f"{name}.ko"] = content

    for wanted in MODULES:
        take(wanted)
    return found


def _needs(module: bytes) -> list[str]:
    """As the module itself says it: depmod, whose list it is elsewhere, does not run for a foreign tree."""
    said = re.search(rb"\0depends=([^\0]*)\0", module)
    return [name for name in said[1].decode().split(",") if name] if said else []


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def _member(name: str, mode: int, content: bytes = b"") -> bytes:
    """One entry of the "newc" format of cpio."""
    raw = name.encode() + b"\0"
    #          ino mode uid gid links mtime size           devices, 4  name's length, checksum
    numbers = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + raw
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
