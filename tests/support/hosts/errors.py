"""The one way in which this harness says no: what failed, and what to do next."""

from __future__ import annotations


class HostsError(Exception):
    """A lab or host could not be made, reached or removed."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(f"{problem}\n  hint: {hint}" if hint else problem)
