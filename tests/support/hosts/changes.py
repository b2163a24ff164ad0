"""What changed on a host since it came up, read from its overlay: the proof that a refused host was left
alone.

/run, /dev and a small disk are mounts of their own and do not show up. A file that was opened for writing
and is byte for byte what it was is not a change.
"""

from __future__ import annotations

import filecmp
import os
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

OPAQUE = "trusted.overlay.opaque"

LOGIN_RECORDS = ("/var/log/lastlog", "/var/log/wtmp", "/var/log/btmp", "/var/log/wtmp.db", "/var/lib/lastlog")
"""What sshd and PAM write at every login, whoever logs in."""


class Kind(StrEnum):
    ADDED = "added"
    MODIFIED = "modified"
    REMOVED = "removed"


@dataclass(frozen=True, order=True)
class Change:
    path: str
    """Absolute, as the host sees it."""
    kind: Kind
    type: str
    """file, folder, link, device, socket or fifo; for something removed, what it was."""


def overlay_diff(upper: Path, lowers: list[Path]) -> list[Change]:
    """Changes in `upper` relative to the first of `lowers` that has the path, by path."""
    found: list[Change] = []
    for folder, folders, files in os.walk(upper):
        for name in [*folders, *files]:
            above = Path(folder) / name
            inner = above.relative_to(upper)
            below = next((one / inner for one in lowers if os.path.lexists(one / inner)), None)
            if kind := _kind(above, below):
                shown = below if kind is Kind.REMOVED and below else above
                found.append(Change(f"/{inner}", kind, _type(shown.lstat())))
    return sorted(found)


def _kind(above: Path, below: Path | None) -> Kind | None:
    new = above.lstat()
    if stat.S_ISCHR(new.st_mode) and new.st_rdev == 0:
        return Kind.REMOVED
    if below is None:
        return Kind.ADDED
    return None if _same(above, new, below, below.lstat()) else Kind.MODIFIED


def _same(above: Path, new: os.stat_result, below: Path, old: os.stat_result) -> bool:
    if (new.st_mode, new.st_uid, new.st_gid) != (old.st_mode, old.st_uid, old.st_gid):
        return False
    if stat.S_ISDIR(new.st_mode):
        return OPAQUE not in os.listxattr(above)
    if stat.S_ISLNK(new.st_mode):
        return os.readlink(above) == os.readlink(below)
    if stat.S_ISREG(new.st_mode):
        return filecmp.cmp(above, below, shallow=False)
    return new.st_rdev == old.st_rdev


_TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link", stat.S_IFSOCK: "socket"}
_TYPES |= {stat.S_IFIFO: "fifo", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def _type(status: os.stat_result) -> str:
    return _TYPES[stat.S_IFMT(status.st_mode)]
