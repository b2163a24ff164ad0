"""What a kernel with GPU drivers shows in /proc and /sys, written as files and bound over this kernel's own.

NVIDIA's words are those of its driver, tab for tab. Root of the host may change them, to let a driver break
or go away. One surprise: a sandbox that mounts a /proc of its own sees this machine's kernel in it, without
them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tests.support.hosts import gpus, namespaces
from tests.support.hosts.gpus import DRIVER_VERSION, Card, Machine
from tests.support.hosts.namespaces import ID_BASE

# What is bound over which directory or file of the host, where the machine shows any of it.
PLACES = {
    "proc-driver": "proc/driver",
    "proc-devices": "proc/devices",
    "pci": "sys/bus/pci/devices",
}
# Not bound but laid over: the other modules stay.
MODULES = "modules"

_INFORMATION = """\
Model: \t\t {card.model}
IRQ:   \t\t {irq}
GPU UUID: \t {card.uuid}
Video BIOS: \t 94.02.42.00.a9
Bus Type: \t PCIe
DMA Size: \t 47 bits
DMA Mask: \t 0x7fffffffffff
Bus Location: \t {card.address}
Device Minor: \t {card.minor}
GPU Firmware: \t {version}
GPU Excluded:\t No
"""
_VERSION = f"""\
NVRM version: NVIDIA UNIX x86_64 Kernel Module  {DRIVER_VERSION}  Thu Jan 23 10:05:46 UTC 2025
GCC version:  gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)
"""
_PARAMS = """\
ResmanDebugLevel: 4294967295
RmLogonRC: 1
ModifyDeviceFiles: 1
DeviceFileUID: 0
DeviceFileGID: 0
DeviceFileMode: 438
InitializeSystemMemoryAllocations: 1
EnableGpuFirmware: 18
"""
# So many GPUs have numbers in mig-minors, whether they are there or not.
_COUNTED, _GPU_INSTANCES, _COMPUTE_INSTANCES = 32, 15, 8


def write(machine: Machine, folder: Path) -> None:
    """Write into `folder` what `show` binds; nothing for a machine that shows nothing."""
    if machine.nvidia:
        _plant(folder / "proc-driver", _nvidia(machine))
    if machine.majors:
        _plant(folder, [("proc-devices", _devices(machine))])
    for name, said in machine.drivers.items():
        _plant(folder / MODULES / name, ((file, f"{text}\n") for file, text in said.items()))
    for card in machine.cards:
        _on_the_bus(card, folder / "pci" / card.address)
    for path in folder.rglob("*"):
        os.chown(path, ID_BASE, ID_BASE, follow_symlinks=False)


def show(machine: Machine, binds: str) -> bool:
    """Bind it, as root of the host before the pivot; whether anything of /proc now lies under something."""
    for name, place in PLACES.items():
        if os.path.exists(f"{binds}/{name}"):
            namespaces.bind(f"{binds}/{name}", place)
    if machine.drivers:
        namespaces.mount("overlay", "sys/module", "overlay", data=f"lowerdir={binds}/{MODULES}:sys/module")
    return bool(machine.nvidia or machine.majors)


def _plant(folder: Path, files: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> None:
    for name, text in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _on_the_bus(card: Card, folder: Path) -> None:
    said = {"vendor": card.vendor, "device": card.device, "class": card.kind, **card.attributes}
    said["numa_node"] = str(card.numa_node)
    _plant(folder, [(name, f"{text}\n") for name, text in said.items()])
    if card.driver:
        (folder / "driver").symlink_to(f"../../../../bus/pci/drivers/{card.driver}")
    for node in card.graphics:
        _plant(folder / "drm" / Path(node.path).name, [("dev", f"{node.major}:{node.minor}\n")])
    if card.accel is not None:
        _plant(folder / "accel" / f"accel{card.accel}", [("dev", f"{gpus.ACCEL}:{card.accel}\n")])


def _devices(machine: Machine) -> str:
    """This machine's, and what these drivers have registered."""
    characters, head, blocks = Path("/proc/devices").read_text().partition("\nBlock devices:")
    return (
        characters + "".join(f"{major:3} {name}\n" for name, major in machine.majors.items()) + head + blocks
    )


def _nvidia(machine: Machine) -> Iterator[tuple[str, str]]:
    yield "nvidia/version", _VERSION
    yield "nvidia/params", _PARAMS
    yield "nvidia-caps/mig-minors", "".join(_mig_minors())
    yield "nvidia/capabilities/mig/config", _right(1, 0o400)
    yield "nvidia/capabilities/mig/monitor", _right(2)
    for number, card in enumerate(machine.nvidia):
        information = _INFORMATION.format(card=card, irq=130 + number, version=DRIVER_VERSION)
        yield f"nvidia/gpus/{card.address}/information", information
        yield from _instances(card)


def _instances(card: Card) -> Iterator[tuple[str, str]]:
    gpu = card.minor or 0
    for gi, ci in card.mig:
        made = f"nvidia/capabilities/gpu{gpu}/mig/gi{gi}"
        yield f"{made}/access", _right(gpus.mig_minor(gpu, gi))
        yield f"{made}/ci{ci}/access", _right(gpus.mig_minor(gpu, gi, ci))


def _right(minor: int, mode: int = 0o444) -> str:
    return f"DeviceFileMinor: {minor}\nDeviceFileMode: {mode}\nDeviceFileModify: 1\n"


def _mig_minors() -> Iterator[str]:
    """Numbers for all instances that could ever be made, as the driver lists them."""
    yield "config 1\nmonitor 2\n"
    for gpu in range(_COUNTED):
        for gi in range(_GPU_INSTANCES):
            yield f"gpu{gpu}/gi{gi}/access {gpus.mig_minor(gpu, gi)}\n"
            for ci in range(_COMPUTE_INSTANCES):
                yield f"gpu{gpu}/gi{gi}/ci{ci}/access {gpus.mig_minor(gpu, gi, ci)}\n"
