"""CUDA's driver library: a context and a round trip through memory on every GPU that it shows.

Of NVIDIA's driver, of WSL2 and of Jetson boards alike. Sent into the sandbox as source.
"""

from __future__ import annotations

import ctypes
import uuid
from typing import Any

from fleetbox.hostside.probes.gpu.library import NAME, SIZE, Device, Library, compare, pattern

# What ldconfig knows first; then where WSL2, NixOS and containers of clouds keep it.
NAMES = (
    "libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "/run/opengl-driver/lib/libcuda.so.1",
    "/usr/local/nvidia/lib64/libcuda.so.1",
)  # fmt: skip


def library() -> Library:
    """Raises Missing."""
    return Library(NAMES, error_name)


def error_name(loaded: Any, number: int) -> str:
    name = ctypes.c_char_p()
    known = loaded.cuGetErrorName(number, ctypes.byref(name)) == 0
    return (name.value or b"").decode("ascii", "replace") if known else ""


def version(cuda: Library) -> str:
    """Of CUDA that the driver speaks, 12.8 for example; after this, the library works."""
    cuda.call("cuInit", 0)
    number = cuda.number("cuDriverGetVersion")
    return f"{number // 1000}.{number % 1000 // 10}"


def devices(cuda: Library) -> list[Device]:
    """Each was computed with. Raises Failed."""
    return [used(cuda, cuda.number("cuDeviceGet", place)) for place in range(cuda.number("cuDeviceGetCount"))]


def used(cuda: Library, device: int) -> Device:
    identity = ctypes.create_string_buffer(16)
    cuda.call("cuDeviceGetUuid_v2", identity, device)
    memory = ctypes.c_size_t(0)
    cuda.call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    round_trip(cuda, device)
    name, pci = cuda.text("cuDeviceGetName", device), cuda.text("cuDeviceGetPCIBusId", device)
    return Device(str(uuid.UUID(bytes=identity.raw)), pci.lower(), name[:NAME], memory.value >> 20)


def round_trip(cuda: Library, device: int) -> None:
    context, place = ctypes.c_void_p(), ctypes.c_uint64(0)
    sent, received = pattern(), ctypes.create_string_buffer(SIZE)
    size = ctypes.c_size_t(SIZE)
    cuda.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    cuda.call("cuCtxSetCurrent", context)
    cuda.call("cuMemAlloc_v2", ctypes.byref(place), size)
    cuda.call("cuMemcpyHtoD_v2", place, sent, size)
    cuda.call("cuMemcpyDtoH_v2", received, place, size)
    compare(sent, received)
    cuda.call("cuMemFree_v2", place)
