"""Whether an unprivileged user can have a sandbox here, tried; and if not, which layer is in the way.

A sysctl says little: it may be absent, overruled by AppArmor or a seccomp filter, or right while /proc is
masked. So bubblewrap itself is run as the workload's user, whole, and if that fails without one layer
after the other. Where there is no bubblewrap yet, unshare(1) asks the kernel the same questions.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from fleetbox.hostside.detect import files, gates
from fleetbox.hostside.detect.attempt import Attempt, attempt
from fleetbox.hostside.paths import Places

LAYERS = ("net", "pid", "proc")
_SYSCTLS = (gates.MAXIMUM, gates.CLONE, gates.APPARMOR)

Try = Callable[[frozenset[str]], Attempt]


class Blocked(NamedTuple):
    """The layer in the way, and what the program that failed on it said."""

    layer: str
    said: str


def with_bwrap(path: str, user: str | None) -> Try:
    """Try a sandbox of bubblewrap at `path`, with the given layers."""

    def run(layers: frozenset[str]) -> Attempt:
        argv = [
            path,
            "--unshare-user",
            *(["--unshare-net"] if "net" in layers else []),
            *(["--unshare-pid"] if "pid" in layers else []),
            *["--ro-bind", "/", "/", "--dev", "/dev"],
            *(["--proc", "/proc"] if "proc" in layers else []),
            "--die-with-parent",
            *[path, "--version"],  # the one program that is certainly in there
        ]
        return attempt(argv, user)

    return run


def with_unshare(user: str | None) -> Try:
    """Ask the kernel for the same namespaces without bubblewrap."""

    def run(layers: frozenset[str]) -> Attempt:
        argv = [
            "unshare",
            *["--user", "--map-root-user", "--mount"],
            *(["--net"] if "net" in layers else []),
            *(["--pid", "--fork", "--kill-child"] if "pid" in layers else []),
            *(["--mount-proc"] if {"pid", "proc"} <= layers else []),
            *["unshare", "--version"],
        ]
        return attempt(argv, user)

    return run


def locate(run: Try) -> Blocked | None:
    """None when a whole sandbox works; else the layer without which it does.

    "user" means that none does, however little is asked for.
    """
    whole = frozenset(LAYERS)
    failure = run(whole)
    if failure.ok:
        return None
    bare = run(frozenset())
    if not bare.ok:
        return Blocked("user", bare.said)
    for layer in ("net", "proc", "pid"):
        if run(whole - {layer}).ok:
            return Blocked(layer, failure.said)
    return Blocked("pid", failure.said)


def sysctls(places: Places) -> dict[str, int]:
    """The settings that explain a refusal, where this kernel has them."""
    found = {name: files.number(places.under(f"/proc/sys/{name.replace('.', '/')}")) for name in _SYSCTLS}
    return {name: value for name, value in found.items() if value is not None}


def gate(blocked: Blocked, places: Places) -> gates.Gate:
    """The gate behind what `locate` found."""
    return gates.explain(
        blocked.layer,
        blocked.said,
        sysctls(places),
        kernel_has_userns=os.path.lexists(places.under("/proc/self/ns/user")),
    )
