"""HIP, AMD's library: a round trip through the memory of every GPU. Sent into the sandbox as source."""

from __future__ import annotations

import ctypes
from typing import Any

from fleetbox.hostside.probes.gpu.library import NAME, SIZE, Device, Library, compare, pattern

# Without a number only where headers are installed; then the versions of ROCm 7, 6 and 5, and its own place.
NAMES = (
    "libamdhip64.so", "libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5",
    "/opt/rocm/lib/libamdhip64.so",
)  # fmt: skip
TO_DEVICE, TO_HOST = 1, 2


def library() -> Library:
    """Raises Missing."""
    return Library(NAMES, error_name)


def error_name(loaded: Any, number: int) -> str:
    loaded.hipGetErrorName.restype = ctypes.c_char_p
    return (loaded.hipGetErrorName(number) or b"").decode("ascii", "replace")


def version(hip: Library) -> str:
    """Of HIP, 6.3.42131 for example; after this, the library works."""
    hip.call("hipInit", 0)
    number = hip.number("hipDriverGetVersion")
    return f"{number // 10_000_000}.{number // 100_000 % 100}.{number % 100_000}"


def devices(hip: Library) -> list[Device]:
    """Each was computed with. Raises Failed."""
    return [used(hip, place) for place in range(hip.number("hipGetDeviceCount"))]


def used(hip: Library, device: int) -> Device:
    memory = ctypes.c_size_t(0)
    hip.call("hipDeviceTotalMem", ctypes.byref(memory), device)
    round_trip(hip, device)
    name, pci = hip.text("hipDeviceGetName", device), hip.text("hipDeviceGetPCIBusId", device)
    return Device("", pci.lower(), name[:NAME], memory.value >> 20)


def round_trip(hip: Library, device: int) -> None:
    place, size = ctypes.c_void_p(), ctypes.c_size_t(SIZE)
    sent, received = pattern(), ctypes.create_string_buffer(SIZE)
    hip.call("hipSetDevice", device)
    hip.call("hipMalloc", ctypes.byref(place), size)
    hip.call("hipMemcpy", place, sent, size, TO_DEVICE)
    hip.call("hipMemcpy", received, place, size, TO_HOST)
    compare(sent, received)
    hip.call("hipFree", place)
