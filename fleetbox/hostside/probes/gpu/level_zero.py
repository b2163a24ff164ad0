"""Level Zero, the library of Intel's GPUs: it is initialised and its GPUs are counted, no memory is used.

It names a GPU by an identity of its own, which nothing in /sys repeats. Sent into the sandbox as source.
"""

from __future__ import annotations

import ctypes
from typing import Any

from fleetbox.hostside.probes.gpu.library import NAME, Device, Library

NAMES = ("libze_loader.so.1",)
DEVICE_PROPERTIES, TYPE_GPU = 0x3, 1
ERRORS = {
    0x70000001: "ZE_RESULT_ERROR_DEVICE_LOST",
    0x70010000: "ZE_RESULT_ERROR_INSUFFICIENT_PERMISSIONS",
    0x70010001: "ZE_RESULT_ERROR_NOT_AVAILABLE",
    0x70020000: "ZE_RESULT_ERROR_DEPENDENCY_UNAVAILABLE",
    0x78000001: "ZE_RESULT_ERROR_UNINITIALIZED",
}


class Properties(ctypes.Structure):
    """ze_device_properties_t."""

    _fields_ = [
        ("stype", ctypes.c_int), ("next", ctypes.c_void_p), ("type", ctypes.c_int),
        *((name, ctypes.c_uint32) for name in ("vendor", "device", "flags", "subdevice", "clock")),
        ("largest", ctypes.c_uint64),
        *((name, ctypes.c_uint32) for name in (
            "contexts", "priority", "threads", "width", "units", "subslices", "slices"
        )),
        ("resolution", ctypes.c_uint64),
        *((name, ctypes.c_uint32) for name in ("bits", "kernel_bits")),
        ("uuid", ctypes.c_uint8 * 16), ("name", ctypes.c_char * 256),
    ]  # fmt: skip


def library() -> Library:
    """Raises Missing."""
    return Library(NAMES, error_name)


def error_name(_loaded: Any, number: int) -> str:
    return ERRORS.get(number & 0xFFFFFFFF, "")


def version(zero: Library) -> str:
    """Nothing says one; after this, the library works."""
    zero.call("zeInit", 0)
    return ""


def devices(zero: Library) -> list[Device]:
    """Of all drivers; what is no GPU is left out. Raises Failed."""
    found = [
        properties(zero, device)
        for driver in handles(zero, "zeDriverGet")
        for device in handles(zero, "zeDeviceGet", driver)
    ]
    names = [one.name.decode("ascii", "replace")[:NAME] for one in found if one.type == TYPE_GPU]
    return [Device("", "", name, 0) for name in names]


def handles(zero: Library, call: str, *of: object) -> list[ctypes.c_void_p]:
    count = ctypes.c_uint32(0)
    zero.call(call, *of, ctypes.byref(count), None)
    array = (ctypes.c_void_p * count.value)()
    zero.call(call, *of, ctypes.byref(count), array)
    return [ctypes.c_void_p(handle) for handle in array[: count.value]]


def properties(zero: Library, device: ctypes.c_void_p) -> Properties:
    found = Properties(stype=DEVICE_PROPERTIES)
    zero.call("zeDeviceGetProperties", device, ctypes.byref(found))
    return found
