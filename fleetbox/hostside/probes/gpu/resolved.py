"""Which GPUs of a host a CDI device is, by its nodes: only their own driver says UUID and address. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from fleetbox.hostside.detect.gpu.model import Gpu
from fleetbox.hostside.probes.gpu.selection import CDI, Picked

_ONE_FOR_ALL = ("wsl", "jetson")
# Nodes that are one GPU's own, by whose library computes with them.
_RENDER = re.compile("/dev/dri/renderD[0-9]+")
_OWN = {"nvidia": re.compile("/dev/nvidia[0-9]+"), "amd": _RENDER, "intel": _RENDER}


def resolved(
    picked: Sequence[Picked], library_of: Callable[[Gpu], str], here: Callable[[str], Sequence[Picked]]
) -> tuple[Picked, ...]:
    """Each CDI device as GPUs out of `here`, a vendor's; as itself where not all its nodes are known."""
    found: dict[tuple[str, str], Picked] = {}
    for one in picked:
        vendor = library_of(one.gpu)
        parts = _parts({*one.gpu.nodes}, vendor, here(vendor)) if one.gpu.vendor == CDI else ()
        for part in parts or (one,):
            name = (part.gpu.vendor, part.gpu.pci or part.gpu.uuid)
            found[name] = _both(found.get(name, part), part)
    return tuple(found.values())


def _parts(nodes: set[str], vendor: str, here: Sequence[Picked]) -> Sequence[Picked]:
    if vendor in _ONE_FOR_ALL:
        return here
    own = {node for node in nodes if _OWN[vendor].fullmatch(node)}
    fitting = [one for one in here if one.gpu.pci and own.intersection(one.gpu.nodes)]
    known = {node for one in fitting for node in one.gpu.nodes}
    return [_shared_out(one, nodes) for one in fitting] if own <= known else ()


def _shared_out(one: Picked, nodes: set[str]) -> Picked:
    instances = tuple(instance for instance in one.instances if nodes.issuperset(instance.nodes))
    return Picked(one.gpu, instances, whole=not instances)


def _both(one: Picked, other: Picked) -> Picked:
    instances = (*dict.fromkeys((*one.instances, *other.instances)),)
    return Picked(one.gpu, instances, one.whole or other.whole)
