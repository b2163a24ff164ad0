"""Whether an unprivileged user can have a sandbox here, tried; and if not, which layer is in the way.

A sysctl says little: it may be absent, overruled by AppArmor or a seccomp filter, or right while /proc is
masked. So bubblewrap itself is run as the workload's user, whole, and if that fails without one layer
after the other. Where there is no bubblewrap yet, unshare(1) asks the kernel the same questions.

`/` as a whole is bound last: bubblewrap touches every mount below it, which may mount what autofs was asked
to mount on demand, or hang with a server that does not answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from fleetbox.hostside.detect import files
from fleetbox.hostside.detect.attempt import Attempt, Prober
from fleetbox.hostside.detect.bwrap import is_setuid
from fleetbox.hostside.detect.explain import Blocked
from fleetbox.hostside.paths import Places

# "other": the namespaces that every launch has besides.
LAYERS = ("net", "pid", "proc", "other")
_ROOT = "root"
# What holds the programs of a system; elsewhere nothing need be touched to run one.
_SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/nix/store", "/sbin", "/usr")

Try = Callable[[frozenset[str]], Attempt]


def with_bwrap(path: str, prober: Prober) -> Try:
    """Try a sandbox of bubblewrap at `path`, with the given layers."""

    def run(layers: frozenset[str]) -> Attempt:
        return prober.attempt([*sandbox(path, layers), path, "--version"])

    return run


def sandbox(path: str, layers: frozenset[str]) -> list[str]:
    """The words of bubblewrap before the command, as the launcher has them (launcher/argv.c).

    A setuid one needs no user namespace, and works where nobody may have any.
    """
    return [
        path,
        "--unshare-user-try" if is_setuid(path) else "--unshare-user",
        *(["--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"] if "other" in layers else []),
        *(["--unshare-net"] if "net" in layers else []),
        *(["--unshare-pid"] if "pid" in layers else []),
        *(["--ro-bind", "/", "/"] if _ROOT in layers else _small_root(path)),
        *["--dev", "/dev"],
        *(["--proc", "/proc"] if "proc" in layers else []),
        "--die-with-parent",
    ]


def _small_root(program: str) -> list[str]:
    directory = os.path.dirname(program)
    known = any(directory == place or directory.startswith(f"{place}/") for place in _SYSTEM)
    words = []
    for place in (*_SYSTEM, *([] if known else [directory])):
        if os.path.islink(place):
            words += ["--symlink", os.readlink(place), place]
        elif os.path.isdir(place):
            words += ["--ro-bind", place, place]
    return words


def with_unshare(prober: Prober) -> Try:
    """Ask the kernel for the same namespaces without bubblewrap."""

    def run(layers: frozenset[str]) -> Attempt:
        argv = [
            "unshare",
            *["--user", "--map-root-user", "--mount"],
            *(["--ipc", "--uts"] if "other" in layers else []),
            *(["--net"] if "net" in layers else []),
            *(["--pid", "--fork", "--kill-child"] if "pid" in layers else []),
            *(["--mount-proc"] if {"pid", "proc"} <= layers else []),
            *["unshare", "--version"],
        ]
        return prober.attempt(argv)

    return run


def locate(run: Try, *, whole_root: bool) -> Blocked | None:
    """None when a whole sandbox works; else the layer without which it does.

    "user" means that none does, however little is asked for; "stuck" that the attempt did not end.
    """
    whole = frozenset(LAYERS)
    failure = run(whole)
    if failure.ok:
        return _root(run(whole | {_ROOT})) if whole_root else None
    if failure.stuck:
        return Blocked("stuck", failure.said)
    bare = run(frozenset())
    if not bare.ok:
        return Blocked("stuck" if bare.stuck else "user", bare.said)
    for layer in ("net", "proc", "pid", "other"):
        if run(whole - {layer}).ok:
            return Blocked(layer, failure.said)
    return Blocked("pid", failure.said)


def _root(attempt: Attempt) -> Blocked | None:
    if attempt.ok:
        return None
    return Blocked("stuck" if attempt.stuck else _ROOT, attempt.said)


def has_automounts(places: Places) -> bool:
    """Whether binding / would mount what somebody asked to have mounted on demand only."""
    mounts = files.text(places.under("/proc/self/mountinfo"))
    return any(line.rpartition(" - ")[2].startswith("autofs ") for line in mounts.splitlines())


def leaves_capabilities(path: str, prober: Prober) -> bool | None:
    """Whether the launcher's inner stage gets what it mounts with; None without unshare(1) to try."""
    words = sandbox(path, frozenset(LAYERS))
    tried = prober.attempt(
        [*words, "--cap-add", "CAP_SYS_ADMIN", "unshare", "--mount", "unshare", "--version"]
    )
    if not tried.ok and "execvp" in tried.said:
        return None
    return tried.ok
