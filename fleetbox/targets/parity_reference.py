"""docs/parity.md, from the data: what is enforced how far, and where that is shown."""

from collections.abc import Iterator

from fleetbox.targets.parity import PARITY, Evidence
from fleetbox.targets.properties import PROPERTIES

_HEAD = """\
# Parity: how far each field is enforced

Generated from `fleetbox/targets/parity.py` and `properties.py` by `make generate`; do not edit.
A policy that writes a field, or a value of it, that is `impossible` or `not_built` is refused
when it is compiled for that platform; with `partial` the note says what is not covered.
*Shown by* names what would fail if a row were not true, and *limit* what shows where a partial one ends:
[checks](checks.md), tests, and attempts to escape (`tests/escape`), by family or by name.
"""


def markdown() -> str:
    return "".join(f"{line}\n" for line in _lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "## Fields of a policy"
    yield ""
    yield "| field | value | Linux | macOS | note | shown by |"
    yield "|---|---|---|---|---|---|"
    for row in PARITY:
        value = f"`{row.value}`" if row.value else ""
        yield f"| `{row.field}` | {value} | {row.linux} | {row.macos} | {row.note} | {_evidence(row)} |"
    yield ""
    yield "## Every sandbox, whatever its policy"
    yield ""
    yield "| what | Linux | macOS | note | shown by |"
    yield "|---|---|---|---|---|"
    for held in PROPERTIES:
        yield f"| {held.words} | {held.linux} | {held.macos} | {held.note} | {_evidence(held)} |"


def _evidence(row: Evidence) -> str:
    limit = f"; limit: {', '.join(_named(name) for name in row.limit)}" if row.limit else ""
    return f"{', '.join(_named(name) for name in row.shown)}{limit}"


def _named(evidence: str) -> str:
    if evidence.startswith("FBX-"):
        return f"[{evidence}](checks.md#{evidence.lower()})"
    if evidence.startswith("escape:"):
        return f"`{evidence}`"
    path, _, test = evidence.partition("::")
    words = (test or path.rpartition("/")[2].removesuffix(".py")).removeprefix("test_").replace("_", " ")
    return f"[{words}](../{path})"
