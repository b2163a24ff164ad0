"""Kernel, distribution and identity of a host, read from files rather than asked of libraries."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
from typing import Any

from fleetbox.hostside.detect import files
from fleetbox.hostside.paths import Places


def kernel(places: Places) -> dict[str, Any]:
    """`version_text` is the whole of /proc/version, `arch` the running program's, `landlock` an ABI or 0."""
    return {
        "release": files.text(places.under("/proc/sys/kernel/osrelease")),
        "version_text": files.text(places.under("/proc/version")),
        "arch": os.uname().machine,
        "landlock": _landlock(),
    }


def distribution(places: Places) -> dict[str, Any]:
    """What os-release(5) says; empty strings for what it leaves out."""
    text = files.text(places.under("/etc/os-release")) or files.text(places.under("/usr/lib/os-release"))
    said = dict(_assignment(line) for line in text.splitlines() if "=" in line)
    return {
        "id": said.get("ID", ""),
        "id_like": said.get("ID_LIKE", "").split(),
        "version_id": said.get("VERSION_ID", ""),
        "codename": said.get("VERSION_CODENAME", ""),
        "pretty": said.get("PRETTY_NAME", ""),
    }


def python() -> dict[str, Any]:
    """The Python that runs this."""
    return {"version": platform.python_version()}


def host_id(places: Places) -> str | None:
    """A name for this host that does not reveal its machine-id, which machine-id(5) calls confidential."""
    machine_id = files.text(places.under("/etc/machine-id"))
    return hashlib.sha256(machine_id.encode("utf-8")).hexdigest() if machine_id else None


def _landlock() -> int:
    """What landlock_create_ruleset(2) answers to whoever asks for its version."""
    try:
        import ctypes  # noqa: PLC0415 (a minimal Python lacks it)
    except ImportError:
        return 0
    abi: int = ctypes.CDLL(None).syscall(444, None, 0, 1)
    return max(0, abi)


def _assignment(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    try:
        return name.strip(), " ".join(shlex.split(value))
    except ValueError:
        return name.strip(), ""
