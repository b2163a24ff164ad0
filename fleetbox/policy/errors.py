"""What is wrong with a policy: every violation with its place, and how a person gets to see it.

A policy is hostile input, and so is the line of it that an error quotes: whatever is not printable leaves
here as an escape, and the caret is placed by what the terminal shows, not by what the file holds.
"""

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from fleetbox.errors import PolicyError
from fleetbox.hostside.text import escape

_SHOWN_WIDTH = 100
_SHOWN_VALUE = 60


@dataclass(frozen=True, slots=True)
class Violation:
    """One mistake. `line` and `column` count from 1; both are 0 when the whole file is meant."""

    file: str
    line: int
    column: int
    field: str
    problem: str
    value: str
    source: str
    hint: str
    width: int = 1

    def as_json(self) -> dict[str, str | int]:
        return asdict(self)


class PolicyInvalid(PolicyError):
    """A policy breaks the schema or contradicts itself. `violations` holds everything that was found."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        files = sorted({violation.file for violation in self.violations})
        count = len(self.violations)
        noun = "violation" if count == 1 else "violations"
        super().__init__(f"{count} {noun} in {escape(', '.join(files))}", hint=self.violations[0].hint)


def shorten(value: object) -> str:
    """A value as an error names it: text as it is, other data as JSON, on one line and not too long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_VALUE else text[: _SHOWN_VALUE - 1] + "…"


def render_violations(violations: Sequence[Violation]) -> str:
    """All violations as text: problem, source line, caret and hint of each; ends with a newline."""
    return "".join(_render(violation) for violation in violations)


def _render(violation: Violation) -> str:
    place = violation.file if not violation.line else f"{violation.file}:{violation.line}:{violation.column}"
    field = f" {violation.field}:" if violation.field else ":"
    value = f" ({violation.value})" if violation.value else ""
    lines = [escape(f"{place}{field} {violation.problem}{value}")]
    if violation.line:
        source, offset, width = _excerpt(violation)
        number = str(violation.line)
        lines.append(f"  {number} | {source}")
        lines.append(f"  {' ' * len(number)} | {' ' * offset}{'^' * width}")
    if violation.hint:
        lines.append(f"  hint: {escape(violation.hint)}")
    return "\n".join(lines) + "\n"


def _excerpt(violation: Violation) -> tuple[str, int, int]:
    """The source line cut to a screen, the column of the caret in it, and how wide the caret is."""
    start = violation.column - 1
    first = max(0, start - _SHOWN_WIDTH // 2) if len(violation.source) > _SHOWN_WIDTH else 0
    last = first + _SHOWN_WIDTH
    before = ("…" if first else "") + escape(violation.source[first:start])
    marked = escape(violation.source[start : min(start + violation.width, last)])
    after = escape(violation.source[start + violation.width : last])
    more = "…" if len(violation.source) > last else ""
    return before + marked + after + more, _columns(before), max(1, _columns(marked))


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)
