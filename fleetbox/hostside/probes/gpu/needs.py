"""FBX-GPU-005: what a GPU's library needs beside its nodes, each thing by itself.

Where FBX-GPU-002 fails, this says why; and it can be asked where there is no library yet.
"""

from __future__ import annotations

import os
import stat

from fleetbox.hostside.probes.gpu import nodes
from fleetbox.hostside.probes.gpu.present import CUDA, Present, present
from fleetbox.hostside.probes.outcome import Attempt
from fleetbox.hostside.probes.scene import Scene
from fleetbox.hostside.probes.trial import Allowed, Asked, Prepared, not_applicable

# What CUDA's library reads to find out which driver runs; not everything is there with every driver.
_SAID_BY_DRIVERS = ("/sys/module/nvidia/initstate", "/sys/module/nvidia_uvm/initstate")


def needs(scene: Scene, asked: Asked) -> Prepared:
    """FBX-GPU-005. `params`: see `present`; sockets false: the policy forbids AF_UNIX."""
    found = present(asked.params)
    if why := nodes.refused(found, asked.params.get("gpu", "none")):
        return why
    if not found.picked:
        return not_applicable("no GPU is declared that this host has")
    targets = [Attempt("name_thread", {}), Attempt("share_memory", {})]
    if os.path.isdir("/sys/bus/pci/devices"):
        targets.append(Attempt("list_bus", {}))
    if not found.by_library.keys().isdisjoint(CUDA):
        targets += _of_cuda(sockets=asked.params.get("sockets", True))
    targets += [nodes.opened(path) for path in _for_a_group(found)]
    return Allowed("what the libraries of the declared GPUs need is there", targets)


def _of_cuda(*, sockets: bool) -> list[Attempt]:
    said = [Attempt("read", {"path": path}) for path in _SAID_BY_DRIVERS if os.path.exists(path)]
    return [Attempt("keep_kernels", {}), *said, *([Attempt("listen_abstract", {})] if sockets else [])]


def _for_a_group(found: Present) -> list[str]:
    """Nodes that nobody may open but by a group, which must not have got lost on the way in."""
    modes = {path: stat.S_IMODE(os.stat(path).st_mode) for path in found.shown}
    return [path for path, mode in modes.items() if mode & 0o060 == 0o060 and not mode & 0o006]
