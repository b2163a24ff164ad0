"""The answers of `why` for people and coding agents: a dozen lines at most, of texts that are printable."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

_GROUPS_MAX = 8
_LINE_MAX = 240


def of_log(answer: Mapping[str, Any]) -> str:
    """The last refusals of launches: two lines each."""
    lines = []
    for one in answer["refusals"]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(max(0, min(one["time"], 2**33))))
        who = ", ".join(filter(None, [one["command"], one["policy"] and f"policy {one['policy']}"]))
        lines += [f"{when}Z  {who}: {one['problem']}", f"  hint: {one['hint']}"]
    lines += [f"not read: {what}" for what in answer["skipped"][:2]]
    return _text(lines or ["the launcher has refused nothing that its log still has"])


def of_rerun(answer: Mapping[str, Any]) -> str:
    """What one command was refused, most telling first; the same rule and errno share a line."""
    if answer["launcher"] and not answer["policy"]:
        return _text(answer["launcher"])
    lines = [_ending(answer), *answer["launcher"][:2]]
    groups = list(_grouped(answer["refusals"]))
    lines += groups[:_GROUPS_MAX]
    if len(groups) > _GROUPS_MAX:
        lines.append(f"  and {len(groups) - _GROUPS_MAX} more kinds: --json lists all")
    others = len(answer["unexplained"])
    if not groups and not answer["launcher"]:
        lines.append("  The policy refused nothing in it.")
    if others:
        lines.append(f"  {others} more failed for reasons that are not the policy's: --json lists them")
    return _text(lines)


def _ending(answer: Mapping[str, Any]) -> str:
    code = answer["exit"]
    how = f"ended with {code}" if code is not None else f"was ended after {answer['timeout']} s"
    return f"{answer['command']} {how} in the sandbox of policy {answer['policy']}:"


def _grouped(refusals: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    groups: dict[tuple[str, str, bool], list[Mapping[str, Any]]] = {}
    for one in refusals:
        groups.setdefault((one["errno"], one["rule"], one["outside"]), []).append(one)
    for (errno, rule, outside), members in groups.items():
        more = f" (and {len(members) - 1} more)" if len(members) > 1 else ""
        too = "; outside too" if outside else ""
        yield f"  {errno} {members[0]['subject']}{more}: {members[0]['means']}, by {rule}{too}"


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line if len(line) <= _LINE_MAX else line[: _LINE_MAX - 3] + '...'}\n" for line in lines)
