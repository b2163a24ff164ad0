"""The table at the end of a run: each attempt, its control, and what became of it inside `fleetbox-run`."""

from typing import Any

COLUMNS = ("host", "attempt", "control", "fleetbox", "what it was told")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for key, value in getattr(report, "user_properties", ())
        if key == "escape" and report.when == "call"
    ]
    if not rows:
        return
    terminalreporter.section("escape attempts")
    for kind, attempt, control, inside, told in [COLUMNS, *map(_words, sorted(rows))]:
        terminalreporter.write_line(f"{kind:9} {attempt:42} {control:10} {inside:9} {told}")


def _words(row: tuple[str, str, bool, bool, str]) -> tuple[str, str, str, str, str]:
    kind, attempt, control, inside, told = row
    return kind, attempt, "succeeds" if control else "FAILS", "SUCCEEDS" if inside else "refused", told[:80]
