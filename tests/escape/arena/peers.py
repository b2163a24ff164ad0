"""How the peers are started: each as its own documentation recommends for the same purpose.

codex: a permission profile that extends `:workspace` and denies what the policy under test denies.
srt: no domain, the workspace writable, the same places unreadable. Both get the caller's environment, its
descriptors and its terminal as they are, because that is what their commands do.
"""

from __future__ import annotations

import json
import os
import shlex

from tests.escape.arena.world import UID, World

NAMES = ("codex", "srt")

CODEX = """\
default_permissions = "work"
[permissions.work]
extends = ":workspace"
[permissions.work.filesystem]
"""


def argv(name: str, world: World) -> list[str]:
    return {"codex": _codex, "srt": _srt}[name](world)


def command(name: str, payload: list[str]) -> list[str]:
    """srt gives its words to a shell."""
    return ["-c", shlex.join(payload)] if name == "srt" else payload


def _denied(world: World) -> list[str]:
    return [path for path in world.named if os.path.lexists(path)]


def _codex(world: World) -> list[str]:
    denied = "".join(f'{json.dumps(path)} = "deny"\n' for path in _denied(world))
    world.file(".codex/config.toml", CODEX + denied)
    return [f"{world.config.peers}/codex", "sandbox", "--"]


def _srt(world: World) -> list[str]:
    settings = {
        "network": {"allowedDomains": [], "deniedDomains": []},
        "filesystem": {"denyRead": _denied(world), "allowWrite": ["."], "denyWrite": []},
    }
    file = world.file(".srt-settings.json", json.dumps(settings))
    assert file.stat().st_uid == UID
    return [f"{world.config.peers}/srt"]
