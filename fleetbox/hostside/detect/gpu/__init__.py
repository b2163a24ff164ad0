"""Which GPUs a host has and whether they can be used, from /proc, /sys and /dev alone.

No vendor's library is asked, so none can hang; nodes are opened by a short process of the account that
workloads run as. What a launch binds is decided at launch (launcher/gpu.c); this is what roles and people
decide by.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fleetbox.hostside.detect import files
from fleetbox.hostside.detect.attempt import Prober
from fleetbox.hostside.detect.gpu import advisories, model, nvidia, others, pci
from fleetbox.hostside.detect.gpu.health import NOT_TRIED, Opens
from fleetbox.hostside.detect.gpu.model import TEXT_MAX, Gpu
from fleetbox.hostside.paths import Places
from fleetbox.hostside.text import escape

_OPEN = """
import errno, json, os, sys
def tried(path):
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW))
    except OSError as problem:
        return errno.errorcode.get(problem.errno, str(problem.errno))
    return ""
print(json.dumps({path: tried(path) for path in sys.argv[1:]}))
"""


def opened_by(prober: Prober) -> Opens:
    """Opens as the prober's account, in a process that is limited in time.

    Each path once: GPUs share nodes, and one that hangs must not use up the time of every other probe.
    """
    known: dict[str, str] = {}

    def opens(paths: Sequence[str]) -> Mapping[str, str]:
        fresh = [path for path in paths if path not in known]
        if fresh:
            answers = _ask(prober, fresh)
            known.update((path, str(answers.get(path, NOT_TRIED))) for path in fresh)
        return {path: known[path] for path in paths}

    return opens


def _ask(prober: Prober, paths: Sequence[str]) -> dict[str, Any]:
    try:
        answers = json.loads(prober.attempt([sys.executable, "-I", "-S", "-c", _OPEN, *paths]).printed)
    except ValueError:
        return {}
    return answers if isinstance(answers, dict) else {}


def detect(places: Places, wsl_version: int, opens: Opens) -> dict[str, Any]:
    """`gpu` of the facts.

    kind: whose GPUs sandboxes here get first; driver: its version; devices: every GPU of every vendor; nodes:
    those of `kind` that are there; advisories: what is known against NVIDIA's driver.
    """
    kind = _kind(places, wsl_version)
    devices = _devices(places, opens, kind)
    first = [device for device in devices if device.vendor == kind]
    wanted = [node for device in first for node in device.nodes]
    return {
        "kind": kind,
        "driver": next((escape(device.driver)[:TEXT_MAX] for device in first if device.driver), None),
        "devices": [_printable(device) for device in devices],
        "nodes": sorted({node for node in wanted if files.is_character_device(places.under(node))}),
        "advisories": [found._asdict() for driver in _drivers(devices) for found in advisories.of(driver)],
    }


def _drivers(devices: Sequence[Gpu]) -> list[str]:
    """Versions of NVIDIA's driver that run here; there is one, unless something is odd."""
    idle = (model.NO_DRIVER, model.MODULE_NOT_LOADED)
    found = {device.driver for device in devices if device.vendor == "nvidia" and device.health not in idle}
    return sorted(escape(driver)[:TEXT_MAX] for driver in found)


def _printable(device: Gpu) -> dict[str, Any]:
    """Models and the like are words of firmware: one control character, and all facts would be refused."""
    said = device._asdict()
    safe = {field: escape(said[field])[:TEXT_MAX] for field in ("model", "uuid", "pci", "driver")}
    return {**said, **safe, "mig": [mig._asdict() for mig in device.mig]}


def _kind(places: Places, wsl_version: int) -> str:
    """WSL2 comes first: it has no /dev/nvidia*, its NVIDIA GPU is /dev/dxg."""
    if wsl_version or files.is_character_device(places.under(others.DXG)):
        return "wsl" if files.is_character_device(places.under(others.DXG)) else "none"
    if others.is_jetson(places):
        return "jetson"
    control = files.is_character_device(places.under(nvidia.CONTROL))
    if control or os.path.isdir(places.under(nvidia.PROC)):
        return "nvidia"
    if files.is_character_device(places.under(others.KFD)):
        return "amd"
    rendering = [one for one in pci.displays(places) if one.vendor == pci.INTEL and one.render]
    return "intel" if rendering else "none"


def _devices(places: Places, opens: Opens, kind: str) -> list[Gpu]:
    """Those of WSL2 and of a Tegra stand for all: what else shows there is the same once more."""
    if kind == "wsl":
        return others.wsl(places, opens)
    if kind == "jetson":
        return others.jetson(places, opens)
    return [*nvidia.gpus(places, opens), *others.amd(places, opens), *others.intel(places, opens)]
