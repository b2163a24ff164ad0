"""What a host is, and what keeps it from sandboxing: verb `facts`.

Everything is read or tried, nothing is changed, and no fact depends on another program's mood: what cannot
be found out is empty or null. The keys are the contract with the roles and with `fleetbox.facts`.
"""

from __future__ import annotations

import os
import re
from argparse import Namespace
from typing import Any, BinaryIO

from fleetbox.hostside import config, generations, paths
from fleetbox.hostside.detect import evidence, explain, gates, gpu, kernel, userns, wsl
from fleetbox.hostside.detect.attempt import Prober
from fleetbox.hostside.detect.bwrap import Bwrap, candidates, is_setuid
from fleetbox.hostside.detect.explain import Blocked
from fleetbox.hostside.detect.gates import Gate
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import reading

_LAUNCHER_VERSION = re.compile(r"fleetbox-run ([0-9A-Za-z.+-]{1,40})")


def facts(places: Places, _options: Namespace, _stdin: BinaryIO) -> dict[str, Any]:
    """Verb `facts`."""
    prober = Prober(_workload_user(places))
    running = kernel.kernel(places)
    wsl_version = wsl.version(running["version_text"])
    chosen, gate = _sandbox(places, wsl_version, prober)
    return {
        "kernel": running,
        "os": kernel.distribution(places),
        "python": kernel.python(),
        "wsl": {"version": wsl_version},
        "userns": {"usable": gate is None, "gate": gate, "sysctls": evidence.sysctls(places)},
        "bwrap": {**chosen._asdict(), "usable": gate is None} if chosen else None,
        "gpu": gpu.detect(places, wsl_version, gpu.opened_by(prober)),
        "launcher": _launcher(places, prober),
        "fleetbox": _generation(places),
        "gates": [gate] if gate else [],
        "costs": _costs(chosen, prober) if chosen and gate is None else [],
        "host_id": kernel.host_id(places),
    }


def _sandbox(places: Places, wsl_version: int, prober: Prober) -> tuple[Bwrap | None, Gate | None]:
    """The bubblewrap to report, preferably one that works, and the gate when none does."""
    found = candidates(places, prober)
    if wsl_version == 1:
        return found[0] if found else None, gates.gate("wsl1", "/proc/version names WSL1")
    whole_root = not userns.has_automounts(places)
    failures: list[Blocked] = []
    for bwrap in found:
        blocked = userns.locate(userns.with_bwrap(bwrap.path, prober), whole_root=whole_root)
        if blocked is None:
            return bwrap, None
        failures.append(blocked)
    if not found:
        blocked = userns.locate(userns.with_unshare(prober), whole_root=False)
        return None, explain.gate(blocked, evidence.gather(places, prober, None)) if blocked else None
    return found[0], explain.gate(failures[0], evidence.gather(places, prober, found[0].path))


def _costs(bwrap: Bwrap, prober: Prober) -> list[Gate]:
    """What does not keep from sandboxing, but makes it slower or weaker."""
    if userns.leaves_capabilities(bwrap.path, prober) is not False:
        return []
    setuid = is_setuid(bwrap.path)
    return [gates.gate("inner_no_caps", f"{bwrap.path}{' is setuid' if setuid else ''}")]


def _workload_user(places: Places) -> str | None:
    """A broken configuration is the concern of the verbs that need it; facts are asked for to find it."""
    try:
        return config.load(places).workload_user
    except HostError:
        return None


def _launcher(places: Places, prober: Prober) -> dict[str, Any] | None:
    path = places.under(paths.LAUNCHER)
    if not os.access(path, os.X_OK):
        return None
    version = _LAUNCHER_VERSION.match(prober.attempt([path, "--version"]).printed)
    return {"path": path, "version": version[1] if version else ""}


def _generation(places: Places) -> dict[str, Any] | None:
    """The current generation; null where there is none, both fields null where its state is damaged."""
    try:
        with reading(places) as state:
            active = generations.current(state) if state else None
    except (HostError, OSError):
        return {"generation": None, "digest": None}
    return {"generation": active.number, "digest": active.digest} if active else None
