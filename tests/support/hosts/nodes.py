"""Device nodes of a host, made by the machine's root because `mknod` needs it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple


class Node(NamedTuple):
    """`path` is below /dev."""

    path: str
    major: int
    minor: int
    mode: int = 0o666


STANDARD = (
    Node("null", 1, 3),
    Node("zero", 1, 5),
    Node("full", 1, 7),
    Node("random", 1, 8),
    Node("urandom", 1, 9),
    Node("tty", 5, 0),
)


def make(dev: Path, node: Node) -> None:
    path = dev / node.path
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    os.mknod(path, stat.S_IFCHR | node.mode, os.makedev(node.major, node.minor))
    path.chmod(node.mode)
