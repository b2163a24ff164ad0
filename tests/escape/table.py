"""The table at the end of a run: each attempt, its control, and what became of it inside `fleetbox-run`."""

from typing import Any

COLUMNS = ("host", "attempt", "control", "fleetbox", "what it was told")
INSIDE = {
    ("escape", False): "refused",
    ("escape", True): "SUCCEEDS",
    ("escape limit", True): "limit",
    ("escape limit", False): "REFUSED",
}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows = [
        _words(key, value)
        for reports in terminalreporter.stats.values()
        for report in reports
        for key, value in getattr(report, "user_properties", ())
        if key in ("escape", "escape limit") and report.when == "call"
    ]
    if not rows:
        return
    terminalreporter.section("escape attempts")
    for kind, attempt, control, inside, told in [COLUMNS, *sorted(rows)]:
        terminalreporter.write_line(f"{kind:9} {attempt:44} {control:10} {inside:9} {told}")


def _words(key: str, row: tuple[str, str, bool, bool, str]) -> tuple[str, str, str, str, str]:
    kind, attempt, control, inside, told = row
    return kind, attempt, "succeeds" if control else "FAILS", INSIDE[key, inside], told[:80]
