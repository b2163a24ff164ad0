"""What is written from the table of gates: the launcher's words and a table for people.

`make generate` writes them; `tests/contract/test_gates.py` compares.
"""

from __future__ import annotations

import json
from pathlib import Path

from fleetbox.hostside.detect import gates

REPO = Path(__file__).resolve().parents[2]
BEGIN = "<!-- begin: gates, from fleetbox/hostside/detect/gates.py by make generate -->"
END = "<!-- end: gates -->"

_HEAD = """\
/* Written by `make generate` from fleetbox/hostside/detect/gates.py, which says what each means. */
#ifndef FLEETBOX_GATE_TEXTS_H
#define FLEETBOX_GATE_TEXTS_H

enum gate {
"""
_MIDDLE = """\
};

static const struct gate_text {
    const char *id;
    const char *problem;
    const char *remedy;
} gate_texts[] = {
"""


def generated() -> dict[Path, str]:
    """What each file must hold, by path."""
    page = REPO / "docs" / "debugging.md"
    return {REPO / "launcher" / "gate_texts.h": header(), page: _page(page.read_text())}


def header() -> str:
    """The launcher's header: an enumeration and, in the same order, the words."""
    names = "".join(f"    {_constant(name)},\n" for name in gates.GATES)
    texts = "".join(
        f"    [{_constant(name)}] = {{{json.dumps(name)},\n"
        f"        {json.dumps(words.problem)},\n        {json.dumps(words.remedy)}}},\n"
        for name, words in gates.GATES.items()
    )
    return f"{_HEAD}{names}{_MIDDLE}{texts}}};\n\n#endif\n"


def table() -> str:
    """The Markdown table of all gates and costs."""
    rows = [_row(name, words) for name, words in (gates.GATES | gates.COSTS).items()]
    return "\n".join(
        ["| gate | shows as | cause | remedy | a role opens it |", "|---|---|---|---|---|", *rows]
    )


def _row(name: str, words: gates.Words) -> str:
    role = "yes" if words.role else "no"
    return f"| `{name}` | {words.shows} | {_cell(words.problem)} | {_cell(words.remedy)} | {role} |"


def _constant(name: str) -> str:
    return f"GATE_{name.upper()}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _page(text: str) -> str:
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"docs/debugging.md: no markers {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"
