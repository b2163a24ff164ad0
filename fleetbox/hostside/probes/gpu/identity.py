"""Whether the GPUs that a library shows are those that a policy gives: by UUID, else by PCI address. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from fleetbox.hostside.probes.gpu.computed import Seen
from fleetbox.hostside.probes.gpu.selection import CDI, Picked, same_address


def beyond(seen: Sequence[Seen], picked: Sequence[Picked]) -> str:
    """A GPU that is none of those, or where nothing tells them apart one too many; "" for none.

    Beside what is `unknown` nothing is strange.
    """
    strange = [one for one in seen if not any(_is(one, given) for given in picked)]
    if strange:
        return f"{strange[0].name} {strange[0].uuid or strange[0].pci}".strip()
    uncounted = unknown(picked) or _shared_out(picked) or _one_node_for_all(picked)
    return f"{len(seen)} GPUs for {len(picked)}" if len(seen) > len(picked) and not uncounted else ""


def lacking(seen: Sequence[Seen], picked: Sequence[Picked]) -> str:
    """A GPU that is given and not seen, "" for none. Of MIG, CUDA shows a process one instance at a time."""
    if _shared_out(picked) and seen:
        return ""
    for given in picked:
        if not any(_is(one, given) for one in seen):
            return f"{given.gpu.model} {given.gpu.uuid or given.gpu.pci}".strip()
    return f"one of {len(picked)} GPUs" if len(seen) < len(picked) else ""


def fewer(inside: Sequence[Seen], outside: Sequence[Seen], picked: Sequence[Picked]) -> bool:
    """Where one node stands for all GPUs, none of them may get lost on the way in."""
    return _one_node_for_all(picked) and len(inside) < len(outside)


def unknown(picked: Sequence[Picked]) -> str:
    """A CDI device of which nothing says which GPUs it is, "" for none: more or fewer of them say nothing."""
    return next((given.gpu.uuid for given in picked if given.gpu.vendor == CDI), "")


def _is(seen: Seen, given: Picked) -> bool:
    """What cannot be compared is taken to be the same: the nodes that are there are another check's."""
    if given.instances:
        uuids = [_digits(instance.uuid) for instance in given.instances]
        if seen.uuid and all(uuids):
            return _digits(seen.uuid) in uuids
    elif seen.uuid and given.gpu.uuid.startswith("GPU-"):
        return _digits(seen.uuid) == _digits(given.gpu.uuid)
    if ":" in seen.pci and given.gpu.pci:
        return same_address(seen.pci, given.gpu.pci)
    return True


def _digits(uuid: str) -> str:
    """A library shows 16 bytes, a driver the same after GPU- or MIG-."""
    return uuid.lower().replace("gpu-", "").replace("mig-", "")


def _shared_out(picked: Sequence[Picked]) -> bool:
    return any(given.instances for given in picked)


def _one_node_for_all(picked: Sequence[Picked]) -> bool:
    """Behind WSL2's node there is what there is; in a container the driver tells no GPU's address."""
    return any(not given.gpu.pci and given.gpu.vendor != CDI for given in picked)
