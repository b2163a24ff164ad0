"""PCI devices that compute or draw, from /sys: no tool is asked."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from fleetbox.hostside.detect import files
from fleetbox.hostside.paths import Places

NVIDIA, AMD, INTEL = "0x10de", "0x1002", "0x8086"
_DEVICES = "/sys/bus/pci/devices"
# Display controllers: VGA, 3D and others.
_CLASSES = ("0x0300", "0x0302", "0x0380")
# Processing accelerators: AMD has GPUs among them. Intel's are its NPUs, which are none.
_ACCELERATOR = "0x1200"
_RENDER = re.compile(r"renderD[0-9]{1,5}")
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


class Display(NamedTuple):
    """One device; `driver` is the kernel's module that has it, "" for none, `path` its directory in /sys."""

    address: str
    vendor: str
    device: str
    driver: str
    path: str
    render: list[str]


def displays(places: Places) -> list[Display]:
    """In the order of their addresses, which is that of every vendor's indices."""
    found = []
    for address in files.names(places.under(_DEVICES)):
        path = places.under(f"{_DEVICES}/{address}")
        if _ADDRESS.fullmatch(address) and _is_gpu(path):
            found.append(_display(address, path))
    return found


def _is_gpu(path: str) -> bool:
    kind = files.text(f"{path}/class")
    return kind.startswith(_CLASSES) or (
        kind.startswith(_ACCELERATOR) and files.text(f"{path}/vendor") != INTEL
    )


def _display(address: str, path: str) -> Display:
    try:
        driver = os.path.basename(os.readlink(f"{path}/driver"))
    except OSError:
        driver = ""
    nodes = [f"/dev/dri/{name}" for name in files.names(f"{path}/drm") if _RENDER.fullmatch(name)]
    return Display(address, files.text(f"{path}/vendor"), files.text(f"{path}/device"), driver, path, nodes)
