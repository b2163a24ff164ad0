"""The configuration of a host, written by the roles and read strictly: /etc/fleetbox/host.json."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass

from fleetbox.hostside import paths
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import check_own

_SIZE_MAX = 64 * 1024
# What useradd takes; never an option, never a number that some tool would read as a uid.
USER_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,30}[a-z0-9_$-]?")


@dataclass(frozen=True)
class HostConfig:
    """`workload_user`: the account whose sandboxes are checked; None where the roles chose none."""

    workload_user: str | None = None


def load(places: Places) -> HostConfig:
    """The configuration; the defaults when there is none. Raises `HostError` `config_invalid`."""
    path = places.under(paths.HOST_CONFIG)
    try:
        with open(path, "rb", opener=_no_follow) as file:
            if os.geteuid() == 0:
                check_own(os.fstat(file.fileno()), path)
            text = file.read(_SIZE_MAX + 1)
    except FileNotFoundError:
        return HostConfig()
    except OSError as problem:
        raise _invalid(path, str(problem)) from None
    return _parse(path, text)


def _no_follow(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _parse(path: str, text: bytes) -> HostConfig:
    try:
        fields = json.loads(text) if len(text) <= _SIZE_MAX else None
    except (ValueError, RecursionError) as problem:
        raise _invalid(path, f"not JSON: {problem}") from None
    if not isinstance(fields, dict) or not fields.keys() <= {"workload_user"}:
        raise _invalid(path, "must be an object with no other field than workload_user")
    user = fields.get("workload_user")
    if user is not None and not (isinstance(user, str) and USER_NAME.fullmatch(user)):
        raise _invalid(path, f"workload_user is {user!r:.80}, not the name of an account")
    return HostConfig(user)


def _invalid(path: str, problem: str) -> HostError:
    return HostError(
        "config_invalid", f"{path}: {problem}", hint="run the conformance role again; it writes this file"
    )
