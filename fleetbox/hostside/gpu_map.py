"""The GPU map's bytes, format 1: what a launch must know of GPUs and cannot look up itself (docs/gpu-map.md).

`fleetbox-host gpu` writes it, the launcher and the facts read it. Its values come from files and a library
of others, so each word is checked against the same table when it is written and when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple, Optional, Union

from fleetbox.hostside.gpu_words import PARTS, RECORDS
from fleetbox.hostside.records import GPU_MAP, FrameInvalid


class MapInvalid(Exception):
    """Bytes that are no GPU map, or a map that does not fit into one; the message says why."""


class Mig(NamedTuple):
    """One MIG compute instance that exists, and the GPU that it is part of."""

    uuid: str
    pci: str
    gi: int
    ci: int


class Source(NamedTuple):
    """One CDI spec as it was read; `crc` is "-" where not everybody can read it."""

    path: str
    size: int
    crc: str


class Node(NamedTuple):
    """A node of the host and where it appears; the numbers are those that it must have, None for any."""

    host_path: str
    path: str
    major: Optional[int]
    minor: Optional[int]


class Mount(NamedTuple):
    """A file or directory of the host and where it appears, read-only."""

    host_path: str
    path: str


class Variable(NamedTuple):
    """A variable of the environment."""

    name: str
    value: str


class Device(NamedTuple):
    """A CDI device that can be used; mounts are in an order in which they can be made."""

    name: str
    nodes: tuple[Node, ...] = ()
    mounts: tuple[Mount, ...] = ()
    variables: tuple[Variable, ...] = ()
    groups: tuple[int, ...] = ()


class Refused(NamedTuple):
    """A CDI device that cannot be used."""

    name: str
    reason: str


Entry = Union[Device, Refused]
DEVICES_MAX = 4096


class GpuMap(NamedTuple):
    """All of it."""

    mig: tuple[Mig, ...] = ()
    sources: tuple[Source, ...] = ()
    devices: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()


Record = Sequence[str]


def encode(content: GpuMap) -> bytes:
    """Raises MapInvalid for a value that the launcher would refuse."""
    if len(content.devices) > DEVICES_MAX:
        raise MapInvalid(f"{len(content.devices)} CDI devices; it holds at most {DEVICES_MAX}")
    records = list(_records(content))
    for record in records:
        _check(record)
    try:
        return GPU_MAP.seal(records)
    except FrameInvalid as problem:
        raise MapInvalid(str(problem)) from None


def decode(data: bytes) -> GpuMap:
    """Raises MapInvalid for anything that `encode` would not have written."""
    try:
        records = list(_split(GPU_MAP.words(data)))
    except FrameInvalid as problem:
        raise MapInvalid(str(problem)) from None
    content = GpuMap(
        mig=tuple(Mig(uuid, pci, int(gi), int(ci)) for _, uuid, pci, gi, ci in _of(records, "mig")),
        sources=tuple(Source(path, int(size), crc) for _, path, size, crc in _of(records, "source")),
        devices=tuple(_entries(records)),
        notes=tuple(text for _, text in _of(records, "note")),
    )
    if list(_records(content)) != records:
        raise MapInvalid("the records are not in their order")
    return content


def _records(content: GpuMap) -> Iterator[list[str]]:
    for mig in content.mig:
        yield ["mig", mig.uuid, mig.pci, str(mig.gi), str(mig.ci)]
    for source in content.sources:
        yield ["source", source.path, str(source.size), source.crc]
    for entry in content.devices:
        yield from _device(entry) if isinstance(entry, Device) else [["refused", *entry]]
    for note in content.notes:
        yield ["note", note]


def _device(device: Device) -> Iterator[list[str]]:
    yield ["device", device.name]
    for node in device.nodes:
        numbers = ("-" if number is None else str(number) for number in (node.major, node.minor))
        yield ["node", node.host_path, node.path, *numbers]
    yield from (["mount", *mount] for mount in device.mounts)
    yield from (["env", *variable] for variable in device.variables)
    yield from (["group", str(group)] for group in device.groups)


def _check(record: Record) -> None:
    name, *words = record
    checks = RECORDS[name]
    if len(words) != len(checks):
        raise MapInvalid(f"{name}: words are missing")
    for word, check in zip(words, checks):  # noqa: B905 (not in Python 3.9)
        if not check(word):
            raise MapInvalid(f"{name}: {word!r:.200} cannot stand in a GPU map")


def _split(words: Sequence[str]) -> Iterator[list[str]]:
    at = 0
    while at < len(words):
        if words[at] not in RECORDS:
            raise MapInvalid(f"unknown record {words[at]!r:.50}")
        after = at + 1 + len(RECORDS[words[at]])
        record = list(words[at:after])
        _check(record)
        yield record
        at = after


def _of(records: Sequence[Record], name: str) -> Iterator[Record]:
    return (record for record in records if record[0] == name)


def _entries(records: Sequence[Record]) -> Iterator[Entry]:
    """Each `device` with the parts that follow it, and each `refused`; in their order."""
    count = 0

    def number(record: Record) -> int:
        nonlocal count
        count += record[0] not in PARTS
        return count

    for _, group in groupby(records, number):
        head, *parts = group
        if head[0] == "refused":
            yield Refused(head[1], head[2])
        elif head[0] == "device":
            yield Device(head[1], **_parts(parts))


def _parts(records: Sequence[Record]) -> dict[str, Any]:
    return {
        "nodes": tuple(map(_node, _of(records, "node"))),
        "mounts": tuple(Mount(*words) for _, *words in _of(records, "mount")),
        "variables": tuple(Variable(*words) for _, *words in _of(records, "env")),
        "groups": tuple(int(group) for _, group in _of(records, "group")),
    }


def _node(record: Record) -> Node:
    _, host_path, path, major, minor = record
    return Node(host_path, path, *(None if number == "-" else int(number) for number in (major, minor)))
