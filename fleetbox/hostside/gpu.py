"""Verb `gpu`: the GPU map, which tells launches what they cannot look up, and one lock file for each GPU.

Whoever changes specs or MIG instances runs it again; a launch that finds other specs than the map was made
of refuses their devices.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

from fleetbox.hostside import gpu_files, gpu_map, mig
from fleetbox.hostside.cdi import registry
from fleetbox.hostside.cdi.registry import Broken
from fleetbox.hostside.detect import gpu as detected
from fleetbox.hostside.detect import kernel, wsl
from fleetbox.hostside.errors import HostError, storage_errors
from fleetbox.hostside.gpu_map import Device, GpuMap, MapInvalid, Mig
from fleetbox.hostside.gpu_words import is_pci
from fleetbox.hostside.paths import Places
from fleetbox.hostside.state import State, locked

_WITHOUT_ADDRESS = {"wsl": "dxg", "jetson": "tegra"}


class Composed(NamedTuple):
    """A map, its bytes, the names of the lock files, and what the map itself does not say."""

    content: GpuMap
    data: bytes
    locks: tuple[str, ...]
    mig_problem: str
    broken: tuple[Broken, ...]


def gpu(places: Places, options: Namespace, _stdin: BinaryIO) -> dict[str, Any]:
    """Verb `gpu`. With `--check` it says what would change and changes nothing."""
    made = compose(places)  # before the lock: a driver may take longer than others wait for it
    if options.check:
        return _answer(made, changed=gpu_files.differ(places, made.data, made.locks))
    with locked(places) as state:
        return _written(state, made)


def refresh(places: Places, state: State) -> dict[str, Any]:
    """Write map and lock files where they are not what they must be. Raises HostError."""
    return _written(state, compose(places))


def _written(state: State, made: Composed) -> dict[str, Any]:
    with storage_errors(state.path):
        return _answer(made, changed=gpu_files.write(state, made.data, made.locks))


def compose(places: Places) -> Composed:
    """The map of this host as it is now. Raises HostError `cdi_too_many` or `gpu_map_too_large`."""
    devices = _gpus(places)
    # No instance is there without its right in /proc, so the library need not be asked.
    has_mig = any(device["mig"] for device in devices)
    found, problem = mig.instances(mig.LIBRARY) if has_mig else ((), "")
    if problem:
        found = _with_known(found, devices)
    specs = registry.read(places)
    content = GpuMap(found, specs.sources, specs.devices, specs.notes)
    try:
        data = gpu_map.encode(content)
    except MapInvalid as invalid:
        hint = "remove CDI specs that nothing uses"
        raise HostError("gpu_map_too_large", f"the GPU map: {invalid}", hint=hint) from None
    return Composed(content, data, _lock_names(devices), problem, specs.broken)


def _gpus(places: Places) -> list[dict[str, Any]]:
    """Every GPU of the host; whether a workload can open it is not asked."""
    version = wsl.version(kernel.kernel(places)["version_text"])
    devices: list[dict[str, Any]] = detected.detect(places, version, lambda _: {})["devices"]
    return devices


def _with_known(told: Iterable[Mig], devices: list[dict[str, Any]]) -> tuple[Mig, ...]:
    """Also those that the last map knew and whose rights still are in /proc: a driver that is asked at a bad
    moment must not take an instance from those who select it.
    """
    known = {(one.pci, one.gi, one.ci): one for device in devices for one in _known(device)}
    known.update({(one.pci, one.gi, one.ci): one for one in told})
    by_uuid = {one.uuid: one for one in (*known.values(), *told)}
    return tuple(sorted(by_uuid.values(), key=lambda one: (one.pci, one.gi, one.ci)))


def _known(device: dict[str, Any]) -> Iterator[Mig]:
    for one in device["mig"]:
        if one["uuid"]:
            pci = str(device["pci"]).lower()
            yield Mig(one["uuid"], pci, one["gpu_instance"], one["compute_instance"])


def _lock_names(devices: list[dict[str, Any]]) -> tuple[str, ...]:
    names = set()
    for device in devices:
        pci = str(device["pci"]).lower()
        if device["vendor"] in _WITHOUT_ADDRESS:
            names.add(_WITHOUT_ADDRESS[device["vendor"]])
        elif is_pci(pci):
            names.add(pci)
            # Compute instances of one GPU instance share its memory, so none of them can be had alone.
            names.update(f"{pci}-gi{one['gpu_instance']}" for one in device["mig"])
    return tuple(sorted(names))


def _answer(made: Composed, *, changed: bool) -> dict[str, Any]:
    entries = made.content.devices
    refused = [(entry.name, [entry.reason]) for entry in entries if not isinstance(entry, Device)]
    refused += [(path, list(problems)) for path, problems in made.broken]
    return {
        "changed": changed,
        "mig": [one._asdict() for one in made.content.mig],
        "mig_problem": made.mig_problem,
        "devices": [entry.name for entry in entries if isinstance(entry, Device)],
        "refused": [{"name": name, "reasons": reasons} for name, reasons in refused],
        "notes": list(made.content.notes),
        "locks": list(made.locks),
    }
