"""Attempts on GPUs, beside those of `attempts.py`, which these are sent with as source."""

from __future__ import annotations

import errno
import json
import mmap
import os
import socket
import stat
from typing import Any

from fleetbox.hostside.probes.attempts import LIMITS, OPERATIONS, create, failed, open_device, try_one
from fleetbox.hostside.probes.gpu import cuda, hip, level_zero
from fleetbox.hostside.probes.gpu.library import Failed, Missing

VENDORS: dict[str, Any] = {"nvidia": cuda, "wsl": cuda, "jetson": cuda, "amd": hip, "intel": level_zero}
COMPUTE = 20.0  # seconds; a driver that nothing keeps loaded wakes eight GPUs in about ten
SHARED = 64 * 1024 * 1024


def make_device(path: str, numbers: list[int]) -> str:
    """Make a node with these numbers, open it, and take it away again."""
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(*numbers))
    try:
        return open_device(path)
    finally:
        os.unlink(path)


def reopen_device(path: str) -> str:
    """Open a node anew through a descriptor that somebody left open on it; EBADF where nobody did."""
    for entry in os.listdir("/proc/self/fd"):
        link = "/proc/self/fd/" + entry
        if int(entry) > 2 and os.path.islink(link) and os.readlink(link) == path:
            return open_device(link)
    raise failed(errno.EBADF)


def compute(vendor: str) -> str:
    """What computing with every GPU of a vendor came to, as JSON (see `computed.py`)."""
    answer: dict[str, Any] = {"library": "", "version": "", "failed": None, "devices": []}
    module = VENDORS[vendor]
    try:
        library = module.library()
        answer["library"] = library.name
        answer["version"] = module.version(library)
        answer["devices"] = module.devices(library)
    except Missing as problem:
        answer["failed"] = ["dlopen", 0, str(problem)]
    except Failed as problem:
        answer["failed"] = problem.answer
    return json.dumps(answer)


def after_compute(vendor: str, tried: list[tuple[str, dict[str, Any]]]) -> str:
    """The same, then further attempts in the very process that used the GPU."""
    answer = json.loads(compute(vendor))
    outcomes = [try_one(operation, arguments) for operation, arguments in tried]
    return json.dumps({"computed": answer, "tried": outcomes})


def name_thread() -> str:
    """As libcuda does with threads of its own since driver 570."""
    with open(f"/proc/self/task/{os.getpid()}/comm", "w", encoding="ascii") as comm:
        comm.write("fleetbox")
    return ""


def share_memory() -> str:
    """64 MiB by shm_open's way, in a directory in which everybody may."""
    if stat.S_IMODE(os.stat("/dev/shm").st_mode) != 0o1777:  # noqa: S108 - where shm_open looks
        raise failed(errno.EACCES, "its mode is not 1777")
    path = f"/dev/shm/fleetbox-probe-{os.getpid()}"  # noqa: S108
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, SHARED)
        with mmap.mmap(descriptor, SHARED) as memory:
            memory[-1] = 1
    finally:
        os.unlink(path)
        os.close(descriptor)
    return ""


def listen_abstract() -> str:
    """CUDA's `@cuda-uvmfd-…`: processes of one sandbox hand each other descriptors there."""
    space = os.stat("/proc/self/ns/pid").st_ino
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(f"\0cuda-uvmfd-{space}-{os.getpid()}")
        server.listen(1)
    return ""


def keep_kernels() -> str:
    """Where CUDA caches what it compiled."""
    home = os.path.expanduser("~/.nv/ComputeCache")
    directory = os.environ.get("CUDA_CACHE_PATH") or home
    return create(f"{directory}/fleetbox-probe-{os.getpid()}", parents=True)


def list_bus() -> str:
    """PCI's devices in /sys, of which libraries read who they are."""
    for address in os.listdir("/sys/bus/pci/devices"):
        with open(f"/sys/bus/pci/devices/{address}/vendor", encoding="ascii") as vendor:
            vendor.read()
    return ""


GPU_OPERATIONS = {
    function.__name__: function
    for function in (
        make_device, reopen_device, compute, after_compute,
        name_thread, share_memory, listen_abstract, keep_kernels, list_bus,
    )
}  # fmt: skip
OPERATIONS.update(GPU_OPERATIONS)
LIMITS.update({"compute": COMPUTE, "after_compute": COMPUTE + 15})
