"""Asks NVIDIA's library which MIG instances exist: a program of its own, because such a library can hang.

`mig` starts it with `python3 -c`, so it imports nothing of ours. It prints one line of JSON: a list of
[uuid, domain, bus, device, GPU instance, compute instance], and a text that says what is missing and why.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

_SUCCESS, _INVALID_ARGUMENT, _NOT_SUPPORTED, _NOT_FOUND = 0, 2, 3, 6
_UUID_SIZE = 96


class _Pci(ctypes.Structure):
    """nvmlPciInfo_t."""

    _fields_ = (
        ("legacy", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("pci_device", ctypes.c_uint),
        ("pci_subsystem", ctypes.c_uint),
        ("address", ctypes.c_char * 32),
    )


class _Failed(Exception):
    """A function answered what it should not have."""


class _Nvml:
    """The library; each function raises _Failed where its answer is none of those that are expected."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)

    def call(self, name: str, *arguments: Any, also: tuple[int, ...] = ()) -> int:
        function: Callable[..., int] = getattr(self._library, name)
        answer = function(*arguments)
        if answer not in (_SUCCESS, *also):
            raise _Failed(f"{name} answered {answer}")
        return answer

    def number(self, name: str, *arguments: Any, also: tuple[int, ...] = ()) -> int:
        """What it puts into its last argument; 0 for one of the answers `also`."""
        number = ctypes.c_uint()
        answer = self.call(name, *arguments, ctypes.byref(number), also=also)
        return number.value if answer == _SUCCESS else 0


def instances(path: str) -> tuple[list[list[Any]], list[str]]:
    """All, and what is wrong with single GPUs: one that has fallen off its bus takes no other along.

    Raises _Failed, OSError for a library that is not there, AttributeError for one that is too old.
    """
    nvml = _Nvml(path)
    nvml.call("nvmlInit_v2")
    found: list[list[Any]] = []
    problems: list[str] = []
    for index in range(nvml.number("nvmlDeviceGetCount_v2")):
        try:
            found += list(_of(nvml, index))
        except _Failed as problem:
            problems.append(f"GPU {index}: {problem}")
    return found, problems


def _of(nvml: _Nvml, number: int) -> Iterator[list[Any]]:
    gpu, pci = ctypes.c_void_p(), _Pci()
    nvml.call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(number), ctypes.byref(gpu))
    nvml.call("nvmlDeviceGetPciInfo_v3", gpu, ctypes.byref(pci))
    for index in range(nvml.number("nvmlDeviceGetMaxMigDeviceCount", gpu, also=(_NOT_SUPPORTED,))):
        instance = ctypes.c_void_p()
        arguments = (gpu, ctypes.c_uint(index), ctypes.byref(instance))
        missing = (_NOT_FOUND, _INVALID_ARGUMENT, _NOT_SUPPORTED)
        if nvml.call("nvmlDeviceGetMigDeviceHandleByIndex", *arguments, also=missing) != _SUCCESS:
            continue
        uuid = ctypes.create_string_buffer(_UUID_SIZE)
        nvml.call("nvmlDeviceGetUUID", instance, uuid, ctypes.c_uint(_UUID_SIZE))
        gi = nvml.number("nvmlDeviceGetGpuInstanceId", instance)
        ci = nvml.number("nvmlDeviceGetComputeInstanceId", instance)
        yield [uuid.value.decode("ascii", "replace"), pci.domain, pci.bus, pci.device, gi, ci]


def main(path: str) -> None:
    try:
        found, problems = instances(path)
    except (_Failed, OSError, AttributeError) as problem:
        found, problems = [], [str(problem)]
    sys.stdout.write(json.dumps([found, ", ".join(problems)]) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
