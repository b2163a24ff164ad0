"""Disks of user-mode Linux hosts: a suite's tree as a file system in a file, made once and only read.

Each host writes to a copy-on-write file of its own. Surprise: a file system stores owners as they are, so
the tree's shifted ids are shifted back in a copy before it is packed.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.hosts import trees
from tests.support.hosts.errors import HostsError
from tests.support.hosts.namespaces import ID_BASE
from tests.support.hosts.spec import Kind, Suite

SIZE = 2 << 30
"""Of the disk; only what is written takes room on this machine."""


def image(suite: Suite) -> Path:
    """Where the suite's disk is, or will be."""
    return trees.CACHE / "images" / f"{trees.tree(suite, Kind.UML).name}.ext4"


def ensure(suite: Suite) -> Path:
    """The suite's disk, packed in some seconds when this machine has none yet."""
    done = image(suite)
    if done.exists():
        return done
    tree = trees.ensure(suite, Kind.UML)
    with trees.building(done):
        # A kernel without privileges opens it: the folder is for everybody, the file for reading.
        done.parent.chmod(0o755)
        if not done.exists():
            _pack(tree, done)
    return done


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
