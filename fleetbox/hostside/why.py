"""What the launcher refused, newest last: the end of each user's refusal log; or, with a command, `rerun`.

The logs belong to the users who were refused, so nothing in them is trusted: each must be a regular file
of the user in its name, only its end is read, a line that the launcher cannot have written is counted
rather than shown, and control characters are spelled out, so that a log cannot drive a reader's terminal.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import stat
from argparse import Namespace
from operator import itemgetter
from typing import Any, BinaryIO

from fleetbox.hostside import paths, why_words
from fleetbox.hostside.errors import Exit, HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.text import escape

_TAIL = 256 * 1024  # bytes read of each log
_FILES_MAX = 256
_TEXTS = ("policy", "command", "problem", "hint")
_LOG = re.compile(r"(0|[1-9][0-9]{0,9})\.jsonl")


def why(places: Places, options: Namespace, _stdin: BinaryIO) -> dict[str, Any]:
    """Verb `why`: the last refusals of one user or of all, oldest first; with a command, what refuses it.

    `skipped` names the logs and counts the lines that were not what the launcher writes.
    """
    if options.command:
        from fleetbox.hostside.rerun import rerun  # noqa: PLC0415 (the probes, which the log does not need)

        return rerun(places, options)
    directory = places.under(paths.REFUSALS)
    wanted = _uid(options.user) if options.user else None
    refusals: list[dict[str, Any]] = []
    skipped: list[str] = []
    for uid in _uids(directory):
        if wanted in (None, uid):
            entries, problem = _read(f"{directory}/{uid}.jsonl", uid)
            refusals += entries
            skipped += [problem] if problem else []
    refusals.sort(key=itemgetter("time"))
    return {"refusals": refusals[-options.last :], "skipped": skipped}


def words(answer: dict[str, Any]) -> str:
    """The answer as lines for people."""
    return why_words.of_rerun(answer) if "exit" in answer else why_words.of_log(answer)


def _uid(user: str) -> int:
    try:
        return int(user) if user.isascii() and user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise HostError("no_such_user", f"there is no account {user!r} here", exit_code=Exit.USAGE) from None


def _uids(directory: str) -> list[int]:
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    except PermissionError:
        return [os.getuid()]  # everybody may write there, and only root may look around
    return sorted(int(match[1]) for name in names if (match := _LOG.fullmatch(name)))[:_FILES_MAX]


def _read(path: str, uid: int) -> tuple[list[dict[str, Any]], str]:
    """The entries at the end of one log, and what of it could not be used."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        return [], f"{path}: {problem.strerror}"
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != uid:
            return [], f"{path}: not a regular file of uid {uid}"
        file.seek(max(0, status.st_size - _TAIL))
        lines = file.read(_TAIL).split(b"\n")
    whole = lines[1:] if status.st_size > _TAIL else lines
    parsed = [_entry(line, uid) for line in whole if line]
    entries = [entry for entry in parsed if entry is not None]
    broken = len(parsed) - len(entries)
    return entries, f"{path}: {broken} unreadable lines" if broken else ""


def _entry(line: bytes, uid: int) -> dict[str, Any] | None:
    """What the launcher wrote (launcher/log.c), or None."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or type(entry.get("time")) is not int:
        return None
    texts = {field: entry.get(field) for field in _TEXTS}
    if not all(isinstance(text, str) for text in texts.values()):
        return None
    return {
        "time": entry["time"],
        "uid": uid,
        **{field: escape(str(text)) for field, text in texts.items()},
    }
