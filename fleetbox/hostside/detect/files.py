"""Reading the small files in which a kernel and a distribution say what they are."""

from __future__ import annotations

import os
import stat

_LIMIT = 64 * 1024


def text(path: str, limit: int = _LIMIT) -> str:
    """The beginning of a small file, stripped; "" when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def number(path: str) -> int | None:
    """The decimal number in a file such as a sysctl; None where there is none."""
    try:
        return int(text(path))
    except ValueError:
        return None


def names(directory: str) -> list[str]:
    """What a directory holds, sorted; nothing when it cannot be read."""
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def is_character_device(path: str) -> bool:
    """Whether a device node lies at `path` itself; a link to one is not one."""
    try:
        return stat.S_ISCHR(os.lstat(path).st_mode)
    except OSError:
        return False
