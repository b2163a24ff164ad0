"""The terminal matrix: a row for each host, a column for each check. Pure: rows in, lines out.

Every cell has a symbol and letters, so that neither colour nor a rare glyph is needed to read it; a host
without results is a row with its reason. Text from hosts is escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetbox.conformance.judge import Tally
from fleetbox.conformance.model import HostState, Status
from fleetbox.hostside import checks

CELLS: Mapping[Status, str] = {
    Status.PASS: "✓ ok",
    Status.FAIL: "✗ FAIL",
    Status.ERROR: "! ERR",
    Status.INCONCLUSIVE: "? inc",
    Status.NOT_APPLICABLE: "- n/a",
    Status.NOT_RUN: "· no",
    Status.STALE: "~ old",
    Status.MISSING: "· miss",
}
LEGEND = (
    "✓ ok pass   ✗ FAIL fail   ! ERR error   ? inc inconclusive   - n/a not applicable   · no not run"
    "   · miss missing"
)
_PREFIX = "FBX-"
_NOTHING = "  "


@dataclass(frozen=True)
class Row:
    """One host. `statuses` is by check id, and may be empty."""

    host: str
    state: HostState
    reason: str
    policy: str
    statuses: Mapping[str, Status]


def render(rows: Sequence[Row], *, width: int = 100) -> list[str]:
    """Lines of at most `width` columns, where names allow it: checks wrap into blocks of all hosts."""
    ids = _columns(rows)
    names = [escape(row.host, 40) for row in rows]
    first = max([len("host"), *map(len, names)])
    lines: list[str] = []
    for block in _blocks(ids, width - first):
        lines += [*_block(rows, names, first, block), ""]
    lines += [_reason(row, name, first) for row, name in zip(rows, names, strict=True) if row.reason]
    return [*lines, LEGEND, _summary(rows)]


def _columns(rows: Sequence[Row]) -> list[str]:
    seen = {check for row in rows for check in row.statuses}
    order = [check.id for check in checks.CHECKS]
    return [check for check in order if check in seen] + sorted(seen - set(order))


def _width(check: str) -> int:
    return max(map(len, (check.removeprefix(_PREFIX), *CELLS.values()))) + len(_NOTHING)


def _blocks(ids: Sequence[str], room: int) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for check in ids:
        if blocks[-1] and sum(map(_width, [*blocks[-1], check])) > room:
            blocks.append([])
        blocks[-1].append(check)
    return blocks


def _block(rows: Sequence[Row], names: Sequence[str], first: int, block: Sequence[str]) -> list[str]:
    head = f"{'host':<{first}}" + "".join(_cell(check.removeprefix(_PREFIX), check) for check in block)
    body = [
        f"{name:<{first}}" + "".join(_cell(_shown(row, check), check) for check in block)
        for row, name in zip(rows, names, strict=True)
    ]
    return [line.rstrip() for line in (head, *body)]


def _cell(text: str, check: str) -> str:
    return _NOTHING + f"{text:<{_width(check) - len(_NOTHING)}}"


def _shown(row: Row, check: str) -> str:
    return CELLS[row.statuses[check]] if check in row.statuses else ""


def _reason(row: Row, name: str, first: int) -> str:
    return f"{name:<{first}}  {row.state.value}: {escape(row.reason, 300)}"


def _summary(rows: Sequence[Row]) -> str:
    total = Tally.of(status for row in rows for status in row.statuses.values())
    return f"{len(rows)} host(s)  score {percent(total.score)}  coverage {percent(total.coverage)}"


def percent(value: float | None) -> str:
    """One decimal, rounded down: 99.96 is not 100."""
    return "none" if value is None else f"{int(value * 10) / 10:.1f} %"


def escape(text: str, limit: int) -> str:
    """Printable characters only, at most `limit` of them."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
