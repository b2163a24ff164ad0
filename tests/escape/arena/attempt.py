"""One attempt, as a value: what is tried, which defence it targets, who decides, what the control lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.escape.arena.world import World

Stage = Callable[["World"], None]
Oracle = Callable[["World"], bool]


def nothing(_: World) -> None:
    """The world as it is: a home, a workspace."""


def never(_: World) -> bool:
    """Decided while the payload runs, not after it."""
    return False


@dataclass(frozen=True)
class Attempt:
    """`payload` is Python that runs inside and knows `world.params` by name.

    It succeeded when an oracle says so: `succeeded` after its end, or `during` while it waits in `meet()`.
    What the payload itself says counts for nothing, except that it says which secret it saw: a random token.

    `without` names what the control run lacks, see `control.py`; `through` is what a shell does before it
    becomes the payload. `refused` is set when the launcher must not start the payload at all; otherwise a
    payload that was never reached shows nothing and fails.
    """

    id: str
    title: str
    targets: str
    without: frozenset[str]
    payload: str
    stage: Stage = nothing
    succeeded: Oracle = never
    during: Oracle | None = None
    policy: str = "base"
    refused: str | None = None
    may_be_refused: bool = False
    terminal: bool = False
    through: str = ""
    as_root: bool = False
    host: str = "bookworm"
    also: tuple[str, ...] = ()
    limit: str = ""
    """Why it still succeeds: a known limit, which docs/threat-model.md names."""
    limit_by_bwrap: str = ""
    """The same, only where bubblewrap mounts what restricts, as it must when it is set-user-id."""
