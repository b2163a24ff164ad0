"""Verb `probe`: run checks inside the sandbox of the current generation and report one result each."""

from __future__ import annotations

import json
from argparse import Namespace
from importlib import import_module
from typing import Any, BinaryIO

from fleetbox.hostside import config
from fleetbox.hostside.errors import Exit, HostError
from fleetbox.hostside.paths import Places

_REQUEST_LIMIT = 1024 * 1024
_FIELDS = {"checks", "user", "egress_peer", "policy"}


def probe(places: Places, options: Namespace, stdin: BinaryIO) -> dict[str, Any]:
    """Answer the request on stdin; the user is the configured one where the request names none.

    The push account may name no other: checks make files in the home of whom they run as.
    """
    request = _request(stdin.read(_REQUEST_LIMIT + 1))
    configured = config.load(places).workload_user if options.forced or not request["user"] else None
    if options.forced and request["user"] not in (None, configured):
        raise _not_configured(configured)
    request["user"] = request["user"] or configured
    answer: dict[str, Any] = import_module("fleetbox.hostside.probes").run(request)
    return answer


def _request(text: bytes) -> dict[str, Any]:
    """All four fields, null where the request leaves one out. Its values are the probes' to judge."""
    try:
        request = json.loads(text or b"{}") if len(text) <= _REQUEST_LIMIT else None
    except (ValueError, RecursionError) as problem:
        raise _invalid(f"the request is not JSON: {problem}") from None
    if not isinstance(request, dict) or not request.keys() <= _FIELDS:
        raise _invalid(
            f"the request must be an object with no other fields than {', '.join(sorted(_FIELDS))}"
        )
    checks = request.get("checks")
    if checks is not None and not (isinstance(checks, list) and all(map(_is_check, checks))):
        raise _invalid("checks must be a list of objects with id and params, without .. in a path")
    for field in _FIELDS - {"checks"}:
        if not isinstance(request.get(field), (str, type(None))):
            raise _invalid(f"{field} must be a string or null")
    return {field: request.get(field) for field in sorted(_FIELDS)}


def _is_check(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"id", "params"}
        and isinstance(value["id"], str)
        and isinstance(value["params"], dict)
        and not _leads_upwards(value["params"])
    )


def _leads_upwards(value: object) -> bool:
    """Whether a path in the parameters has `..` in it. A policy's have none, and files are made there."""
    if isinstance(value, str):
        return ".." in value.split("/")
    if isinstance(value, (list, dict)):
        return any(map(_leads_upwards, value.values() if isinstance(value, dict) else value))
    return False


def _not_configured(configured: str | None) -> HostError:
    allowed = f"{configured!r} only" if configured else "nobody: none is configured here"
    return HostError(
        "not_allowed",
        f"the push account may have checks run as {allowed}",
        hint="role conformance configures the workload's user (fleetbox_workload_user)",
        exit_code=Exit.USAGE,
    )


def _invalid(problem: str) -> HostError:
    return HostError("usage", problem, hint="the probe request is JSON on stdin", exit_code=Exit.USAGE)
