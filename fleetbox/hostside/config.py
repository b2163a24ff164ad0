"""The configuration of a host, written by the roles and read strictly: /etc/fleetbox/host.json."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fleetbox.hostside import paths
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.release import DEFAULT_TEAM, HOST_ID, TEAM
from fleetbox.hostside.state import check_own

_SIZE_MAX = 64 * 1024
_TEAMS_MAX = 100
_DAYS_MAX = 3650
# What useradd takes; never an option, never a number that some tool would read as a uid.
USER_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,30}[a-z0-9_$-]?")


@dataclass(frozen=True)
class HostConfig:
    """`workload_user`: the account whose sandboxes are checked; None where the roles chose none.

    `host_id`: whom an assignment must name; None where this host takes none. `teams`: whose releases it
    takes. `max_stale_days`: how long it keeps a policy whose signatures are due; None for ever.
    """

    workload_user: str | None = None
    host_id: str | None = None
    teams: tuple[str, ...] = (DEFAULT_TEAM,)
    max_stale_days: int | None = None


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
    names = [field.name for field in dataclasses.fields(HostConfig)]
    if not isinstance(fields, dict) or not fields.keys() <= set(names):
        raise _invalid(path, f"must be an object with no other fields than {', '.join(names)}")
    wrong = [
        f"{name} is {fields[name]!r:.80}, not {_FIELDS[name][0]}" for name in fields if not _is(name, fields)
    ]
    if wrong:
        raise _invalid(path, "; ".join(wrong))
    teams = fields.get("teams")
    return HostConfig(
        workload_user=fields.get("workload_user"),
        host_id=fields.get("host_id"),
        teams=(DEFAULT_TEAM,) if teams is None else tuple(teams),
        max_stale_days=fields.get("max_stale_days"),
    )


def _is(name: str, fields: dict[str, Any]) -> bool:
    return fields[name] is None or _FIELDS[name][1](fields[name])


def _is_text(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_teams(value: Any) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= _TEAMS_MAX and all(map(_is_text(TEAM), value))


def _is_days(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _DAYS_MAX


# field: what it must be, in words and as a test
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "workload_user": ("the name of an account", _is_text(USER_NAME)),
    "host_id": ("the name of a host", _is_text(HOST_ID)),
    "teams": ("a list of names of teams", _is_teams),
    "max_stale_days": (f"a number of days up to {_DAYS_MAX}", _is_days),
}


def _invalid(path: str, problem: str) -> HostError:
    return HostError("config_invalid", f"{path}: {problem}", hint="run the roles again; they write this file")
