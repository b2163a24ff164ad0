"""How the peers are started: each as its own documentation recommends for the same purpose."""

from __future__ import annotations

import json
import shlex

from tests.escape.arena.world import UID, World

NAMES = ("codex", "srt")


def argv(name: str, world: World) -> list[str]:
    return {"codex": _codex, "srt": _srt}[name](world)


def command(name: str, payload: list[str]) -> list[str]:
    """srt gives its words to a shell."""
    return ["-c", shlex.join(payload)] if name == "srt" else payload


def _codex(world: World) -> list[str]:
    """Workspace write, network off; what is denied is written as its permission profiles want it."""
    return [f"{world.config.peers}/codex", "sandbox", "-c", 'sandbox_mode="workspace-write"', "--"]


def _srt(world: World) -> list[str]:
    """Reads are open by default there; the credentials of the user are denied as its README shows."""
    settings = {
        "network": {"allowedDomains": [], "deniedDomains": []},
        "filesystem": {"denyRead": [*world.masked], "allowWrite": ["."], "denyWrite": []},
    }
    file = world.file("/srv/srt.json", json.dumps(settings))
    assert file.stat().st_uid == UID
    return [f"{world.config.peers}/srt", "--settings", str(file)]
