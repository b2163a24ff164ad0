"""Which GPU a host has, from /proc, /sys and /dev alone: no vendor's library is asked, so none can hang.

WSL2 comes first: it has no /dev/nvidia*, its NVIDIA GPU is /dev/dxg. What the launcher binds is decided at
launch (launcher/gpu.c); this is what roles and people decide by.
"""

from __future__ import annotations

import os
import re
from typing import Any

from fleetbox.hostside.detect import files
from fleetbox.hostside.paths import Places

_NVIDIA_PROC = "/proc/driver/nvidia"
_NVIDIA_NODE = re.compile(r"nvidia(ctl|[0-9]{1,4}|-uvm|-uvm-tools)")
_FIELDS = {"Model": "model", "GPU UUID": "uuid", "Bus Location": "bus", "Device Minor": "minor"}
_INTEL = "0x8086"
_TEXT_MAX = 100


def detect(places: Places, wsl_version: int) -> dict[str, Any]:
    """kind, driver version, devices and device nodes; the last three for NVIDIA and WSL only."""
    kind = _kind(places, wsl_version)
    driver = files.text(places.under("/sys/module/nvidia/version")) if kind == "nvidia" else ""
    return {
        "kind": kind,
        "driver": driver or None,
        "devices": _nvidia_devices(places) if kind == "nvidia" else [],
        "nodes": _nodes(places, kind),
    }


def _kind(places: Places, wsl_version: int) -> str:
    if wsl_version:
        return "wsl" if files.is_character_device(places.under("/dev/dxg")) else "none"
    if files.is_character_device(places.under("/dev/dxg")):
        return "wsl"
    if _is_jetson(places):
        return "jetson"
    if os.path.isdir(places.under(_NVIDIA_PROC)) or files.is_character_device(places.under("/dev/nvidiactl")):
        return "nvidia"
    if files.is_character_device(places.under("/dev/kfd")):
        return "amd"
    return "intel" if _has_intel_render_node(places) else "none"


def _is_jetson(places: Places) -> bool:
    family = files.text(places.under("/sys/devices/soc0/family")).lower()
    return os.path.exists(places.under("/etc/nv_tegra_release")) or family.startswith("tegra")


def _has_intel_render_node(places: Places) -> bool:
    drm = places.under("/sys/class/drm")
    nodes = (name for name in files.names(drm) if name.startswith("renderD"))
    return any(files.text(f"{drm}/{name}/device/vendor") == _INTEL for name in nodes)


def _nvidia_devices(places: Places) -> list[dict[str, Any]]:
    """One entry per GPU in PCI order, which is the order of indices; the minor names its node."""
    gpus = places.under(f"{_NVIDIA_PROC}/gpus")
    return [_nvidia_device(files.text(f"{gpus}/{bus}/information")) for bus in files.names(gpus)]


def _nvidia_device(information: str) -> dict[str, Any]:
    pairs = (line.split(":", 1) for line in information.splitlines() if ":" in line)
    named = ((_FIELDS.get(name.strip()), value.strip()[:_TEXT_MAX]) for name, value in pairs)
    said = {field: value for field, value in named if field}
    minor = said.pop("minor", "")
    return {
        **{field: said.get(field, "") for field in ("uuid", "model", "bus")},
        "minor": int(minor) if minor.isascii() and minor.isdigit() else None,
    }


def _nodes(places: Places, kind: str) -> list[str]:
    if kind == "wsl":
        return ["/dev/dxg"]
    if kind != "nvidia":
        return []
    names = (name for name in files.names(places.under("/dev")) if _NVIDIA_NODE.fullmatch(name))
    return [f"/dev/{name}" for name in names if files.is_character_device(places.under(f"/dev/{name}"))]
