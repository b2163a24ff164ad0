"""The host's own audit trail: what its state was asked to become, and what came of it.

Who changes something records it first with `record`, and does nothing where that fails: a change that would
leave no trace is refused. A way back is recorded with `attempt`, which never fails: no full log may keep a
host from returning to what it had. Only root reads the trail, since it names people; no secret belongs in it.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from fleetbox.hostside import chain, paths
from fleetbox.hostside.chain import Damage, Entry, Head
from fleetbox.hostside.chain_check import Counted, check
from fleetbox.hostside.errors import Exit, HostError, storage_errors
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import readable_by_all
from fleetbox.hostside.text import escape
from fleetbox.hostside.trail import Limits, Trail

# Some ten thousand activations; a host keeps no more, whatever happens to it.
LIMITS = Limits(file=1024 * 1024, keep=8)
_TEXT_MAX = 500
_ITEMS_MAX = 100
_ANSWER_MAX = 1024 * 1024  # bytes of records in one answer
_PROBLEMS_MAX = 100


def record(places: Places, event: str, **fields: Any) -> Head:
    """Write down `event`, durably. Raises `HostError`; then the caller must not do what it was about to.

    Fields are text, numbers, true or false, None, and lists and objects of these; long ones are cut.
    """
    logs = places.under(paths.LOGS)
    with storage_errors(logs), readable_by_all():
        with suppress(FileExistsError):
            os.mkdir(logs, 0o755)
        return _trail(places).append(event, {name: _bounded(value) for name, value in fields.items()})


def attempt(places: Places, event: str, **fields: Any) -> Head | None:
    """As `record`, for what has happened or must happen: None, and a word on stderr, where it fails."""
    try:
        return record(places, event, **fields)
    except Exception as problem:  # noqa: BLE001  # whatever it is, it may not keep a host from going back
        sys.stderr.write(f"fleetbox-host: {event} was not recorded: {escape(str(problem))}\n")
        return None


def head(places: Places) -> Head | None:
    """The last record, for the answer of a verb; None where there is none or it cannot be read."""
    try:
        return _trail(places).head()
    except HostError:
        return None


def audit(places: Places, options: Namespace, _stdin: BinaryIO) -> dict[str, Any]:
    """Verb `audit`: the records from `--since` on, as many as fit; with `--verify`, what is wrong with them.

    `next` is where to go on, or None. Raises `HostError` `tampered` for a grave problem.
    """
    return _verified(places) if options.verify else _page(places, options.since)


def _page(places: Places, since: int) -> dict[str, Any]:
    page: list[dict[str, Any]] = []
    size, following = 0, None
    with _trail(places).entries() as row:
        for entry in _from(row, since):
            shown = _shown(entry)
            size += len(str(shown))
            if page and size > _ANSWER_MAX and not isinstance(entry, Damage):
                following = entry.seq
                break
            page.append(shown)
    return {"entries": page, "next": following}


def _from(row: Iterable[Entry], since: int) -> Iterator[Entry]:
    """What follows the last record before number `since`, damage included."""
    begun = since <= 1
    before: list[Entry] = []
    for entry in row:
        if begun:
            yield entry
        elif isinstance(entry, Damage):
            before = [entry]
        elif entry.seq >= since:
            begun = True
            yield from (*before, entry)
        else:
            before = []


def _verified(places: Places) -> dict[str, Any]:
    with _trail(places).entries() as row:
        seen = Counted(row)
        problems = check(seen)
    answer = {
        "head": seen.head._asdict() if seen.head else None,
        "problems": [problem._asdict() for problem in problems[:_PROBLEMS_MAX]],
    }
    grave = [problem for problem in problems if problem.grave]
    if grave:
        raise HostError(
            "tampered",
            f"{places.under(paths.AUDIT)}: {grave[0].message}",
            hint="find out who changed it; fleetbox audit verify compares it with what was seen before",
            exit_code=Exit.TAMPERED,
            answer=answer,
        )
    return answer


def _shown(entry: Entry) -> dict[str, Any]:
    if isinstance(entry, Damage):
        return {"damaged": {**entry.noted(), "torn": entry.torn}}
    return chain.as_json(entry)


def _trail(places: Places) -> Trail:
    return Trail(places.under(paths.AUDIT), LIMITS, directory_mode=0o750, file_mode=0o640)


def _bounded(value: Any) -> Any:
    """Cut to what one record may hold; anything that is not plain data becomes text."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, (list, tuple)):
        return [_bounded(item) for item in value[:_ITEMS_MAX]]
    if isinstance(value, dict):
        return {str(name)[:_TEXT_MAX]: _bounded(item) for name, item in list(value.items())[:_ITEMS_MAX]}
    return str(value)[:_TEXT_MAX]
