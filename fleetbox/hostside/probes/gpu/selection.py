"""devices.gpu.select: which of the GPUs that are here a launch takes. Pure.

The launcher refuses what names none, or several; here it is told as missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fleetbox.hostside.detect.gpu.model import Gpu

CDI = "cdi"


class Instance(NamedTuple):
    """One MIG instance: its UUID, "" where nothing says it, and the two nodes that are the right to it."""

    uuid: str
    nodes: tuple[str, ...]


class Picked(NamedTuple):
    """A GPU that a sandbox gets, with the instances that it gets of it: all of them with the whole GPU."""

    gpu: Gpu
    instances: tuple[Instance, ...] = ()
    whole: bool = True

    @property
    def nodes(self) -> list[str]:
        """What must be there for it."""
        return [*self.gpu.nodes, *(node for instance in self.instances for node in instance.nodes)]


def beyond_indices(select: Any) -> bool:
    """Whether GPUs of other vendors than the first may be meant: an index counts the first one's."""
    return select != "all" and any(not str(selector).isdecimal() for selector in select)


def pick(here: Sequence[Picked], select: Any, first: str) -> tuple[tuple[Picked, ...], tuple[str, ...]]:
    """Those that are taken, and the selectors that do not name exactly one."""
    if select == "all":
        return tuple(one for one in here if first != CDI or _for_all(one, here)), ()
    selectors = [str(selector) for selector in select]
    if first == "wsl":  # one node for all GPUs of Windows: none can be held back
        return (), tuple(selectors)
    taken: dict[int, Picked] = {}
    missing = []
    for selector in selectors:
        fitting = list(_fitting(here, selector, first))
        if len(fitting) != 1:
            missing.append(selector)
            continue
        [(place, one)] = fitting
        known = taken.get(place, one)
        whole = known.whole or one.whole
        given = here[place].instances if whole else (*dict.fromkeys((*known.instances, *one.instances)),)
        taken[place] = Picked(one.gpu, given, whole)
    return tuple(taken[place] for place in sorted(taken)), tuple(missing)


def _for_all(one: Picked, here: Sequence[Picked]) -> bool:
    """A specification that has a device for all of them says best what that is."""
    kind, _, name = one.gpu.uuid.partition("=")
    return name == "all" or all(other.gpu.uuid != f"{kind}=all" for other in here)


def _fitting(here: Sequence[Picked], selector: str, first: str) -> Iterator[tuple[int, Picked]]:
    if selector.isdecimal():
        places = [place for place, one in enumerate(here) if one.gpu.vendor == first != CDI]
        counted = [place for place in places if here[place].gpu.pci or first != "nvidia"]
        if int(selector) < len(counted):
            yield counted[int(selector)], here[counted[int(selector)]]
        return
    for place, one in enumerate(here):
        if _is(one.gpu, selector):
            yield place, one
        for instance in one.instances:
            if selector.lower() == instance.uuid.lower():
                yield place, Picked(one.gpu, (instance,), whole=False)


def _is(gpu: Gpu, selector: str) -> bool:
    if "=" not in selector and ":" in selector:
        return bool(gpu.pci) and same_address(selector, gpu.pci)
    return bool(gpu.uuid) and selector.lower() == gpu.uuid.lower()


def same_address(wanted: str, address: str) -> bool:
    """However many zeros a domain is written with; without one any domain fits."""
    *domain, bus, device = wanted.lower().split(":")
    *own, own_bus, own_device = address.lower().split(":")
    fits = not domain or not own or int(domain[0], 16) == int(own[0], 16)
    return fits and (bus, device) == (own_bus, own_device)
