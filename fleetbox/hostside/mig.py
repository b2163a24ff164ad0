"""The UUIDs of MIG instances: only NVIDIA's library knows them; it is asked in a process that may hang."""

from __future__ import annotations

import json
import math
import sys
from importlib.util import find_spec
from typing import Any

from fleetbox.hostside.detect.attempt import Prober
from fleetbox.hostside.gpu_map import Mig
from fleetbox.hostside.gpu_words import is_pci, is_uuid
from fleetbox.hostside.text import escape

LIBRARY = "libnvidia-ml.so.1"
TIMEOUT_S = 45.0  # where nothing keeps the driver loaded, it first wakes every GPU, some seconds for each
_UNKNOWN = "so policies can select by UUID only what was known before"
_INSTANCES_MAX = 1024


def instances(library: str, *, timeout: float = TIMEOUT_S) -> tuple[tuple[Mig, ...], str]:
    """All of this machine by `library`, sorted by place; and why some or all are missing, "" for none."""
    # As ourselves: an administrator may have closed the rights to instances to everybody else.
    prober = Prober(None, timeout=timeout, budget=math.inf, as_root=True)
    ran = prober.attempt([sys.executable, "-I", "-S", "-c", _program(), library])
    if not ran.ok:
        return (), f"{library}: {ran.said}; {_UNKNOWN}"
    try:
        listed, problem = json.loads(ran.printed)
        said = escape(f"{library}: {problem[:200]}; {_UNKNOWN}") if problem else ""
        found = [_mig(words) for words in listed[:_INSTANCES_MAX]]
    except (ValueError, TypeError):
        return (), f"{library} gave an answer that is none; {_UNKNOWN}"
    return tuple(sorted(found, key=lambda mig: (mig.pci, mig.gi, mig.ci))), said


def _mig(words: list[Any]) -> Mig:
    """Raises ValueError or TypeError."""
    uuid, domain, bus, device, gi, ci = words
    mig = Mig(uuid, f"{domain:04x}:{bus:02x}:{device:02x}.0", gi, ci)
    if not (is_uuid(uuid) and is_pci(mig.pci) and gi >= 0 and ci >= 0):
        raise ValueError
    return mig


def _program() -> str:
    """Read, not imported: not every Python has ctypes."""
    name = "fleetbox.hostside.nvml"
    found: Any = find_spec(name)
    return str(found.loader.get_source(name))
