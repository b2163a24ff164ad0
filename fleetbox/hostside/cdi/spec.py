"""One CDI spec, read by the rules of the specification; what it asks for is judged in `translate`.

The rules are those of the CDI project's own reader, which is stricter than its JSON schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fleetbox.hostside import gpu_words
from fleetbox.hostside.cdi import text
from fleetbox.hostside.cdi.fields import Fields, Reading, SpecInvalid

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_ID_MAX = 2**32 - 1
_NUMBER_MAX = 2**63 - 1
_DEVICE_NUMBER_MAX = 2**20 - 1


class Node(NamedTuple):
    """A device node; `host_path` is "" and the numbers are None where the spec has none."""

    path: str
    host_path: str
    type: str
    major: int | None
    minor: int | None
    permissions: str


class Mount(NamedTuple):
    """A mount; its options have no effect, as each is read-only."""

    host_path: str
    path: str
    type: str


class Hook(NamedTuple):
    """A command of the host."""

    path: str
    args: tuple[str, ...]


class Edits(NamedTuple):
    """What a device or a whole spec asks for; `others` are the fields that ask for what no sandbox gives."""

    env: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    mounts: tuple[Mount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    groups: tuple[int, ...] = ()
    others: tuple[str, ...] = ()


class Device(NamedTuple):
    """A device by its qualified name, `vendor/class=name`."""

    name: str
    edits: Edits


class Spec(NamedTuple):
    """One file; `edits` belong to each of its devices."""

    edits: Edits
    devices: tuple[Device, ...]


def parse(data: bytes, name: str) -> Spec:
    """The spec in a file called `name`. Raises SpecInvalid with everything that is wrong."""
    reading = Reading()
    fields = Fields(text.load(data, name), "", reading)
    version = _version(fields)
    kind = _kind(fields)
    fields.labels("annotations", since="0.6.0")
    edits = fields.inner("containerEdits")
    spec = Spec(_edits(edits) if edits else Edits(), _devices(fields, kind))
    fields.close()
    _check_versions(reading, version)
    if reading.problems:
        raise SpecInvalid(*reading.problems)
    return spec


def _version(fields: Fields) -> str:
    declared = fields.text("cdiVersion", required=True)
    version = declared[1:] if declared.startswith("v") else declared
    if declared and version not in VERSIONS:
        fields.wrong("cdiVersion", "is not known", declared, hint=f"{VERSIONS[0]} to {VERSIONS[-1]}")
    return version


def _check_versions(reading: Reading, version: str) -> None:
    if version not in VERSIONS:
        return
    for needed, where in reading.younger:
        if VERSIONS.index(needed) > VERSIONS.index(version):
            reading.wrong(where, f"needs cdiVersion {needed}, and the spec says {version}")


def _kind(fields: Fields) -> str:
    kind = fields.text("kind", required=True)
    vendor, _, name = kind.partition("/")
    if kind and not (gpu_words.is_label(vendor) and gpu_words.is_label(name)):
        fields.wrong("kind", "is not vendor/class", kind, hint="as in nvidia.com/gpu")
    if "." in name:
        fields.reading.needs("0.6.0", "kind")
    return kind


def _devices(fields: Fields, kind: str) -> tuple[Device, ...]:
    written = fields.objects("devices")
    if not written:
        fields.wrong("devices", "has no device")
    found: dict[str, Device] = {}
    for one in written:
        name = one.text("name", required=True)
        if name and not gpu_words.is_device_name(name):
            one.wrong("name", "is not a name", name, hint="letters and digits, inside also _ - . :")
        if name in found:
            one.wrong("name", "appears twice", name)
        if name[:1].isdigit():
            one.reading.needs("0.5.0", one.at("name"))
        one.labels("annotations", since="0.6.0")
        found[name] = Device(f"{kind}={name}", _own_edits(one))
        one.close()
    return tuple(found.values())


def _own_edits(device: Fields) -> Edits:
    fields = device.inner("containerEdits")
    if fields is None:
        device.wrong("containerEdits", "is missing")
        return Edits()
    edits = _edits(fields)
    if edits == Edits():
        device.wrong("containerEdits", "is empty")
    return edits


def _edits(fields: Fields) -> Edits:
    env = fields.texts("env")
    _check_env(fields, env)
    edits = Edits(
        env=tuple(variable for _, variable in env),
        nodes=tuple(_node(one) for one in fields.objects("deviceNodes")),
        mounts=tuple(_mount(one) for one in fields.objects("mounts")),
        hooks=tuple(_hook(one) for one in fields.objects("hooks")),
        groups=tuple(fields.numbers("additionalGids", _ID_MAX, since="0.7.0")),
        others=tuple(name for name, given in _others(fields) if given),
    )
    fields.close()
    return edits


def _check_env(fields: Fields, env: Sequence[tuple[str, str]]) -> None:
    for where, variable in env:
        if variable.find("=") <= 0:
            fields.reading.wrong(where, "is not NAME=VALUE", variable)


def _node(fields: Fields) -> Node:
    node = Node(
        path=fields.text("path", required=True),
        host_path=fields.text("hostPath", since="0.5.0"),
        type=fields.word("type", ("b", "c", "u", "p")),
        major=fields.number("major", _DEVICE_NUMBER_MAX),
        minor=fields.number("minor", _DEVICE_NUMBER_MAX),
        permissions=fields.text("permissions"),
    )
    if node.permissions != "none" and node.permissions.strip("rwm"):
        fields.wrong("permissions", "is not known", node.permissions, hint="none, or letters out of r, w, m")
    if node.minor and not node.major:
        fields.wrong("minor", "has no major beside it", node.minor)
    fields.number("fileMode", _ID_MAX)
    fields.number("uid", _ID_MAX)
    fields.number("gid", _ID_MAX)
    fields.close()
    # Generators leave zeros out: a major alone has the minor 0, and two zeros are no numbers.
    numbers = (node.major, node.minor or 0) if node.major else (None, None)
    return node._replace(major=numbers[0], minor=numbers[1])


def _mount(fields: Fields) -> Mount:
    mount = Mount(
        host_path=fields.text("hostPath", required=True),
        path=fields.text("containerPath", required=True),
        type=fields.text("type", since="0.4.0"),
    )
    fields.texts("options")
    fields.close()
    return mount


def _hook(fields: Fields) -> Hook:
    fields.word("hookName", _HOOKS, required=True)
    _check_env(fields, fields.texts("env"))
    hook = Hook(fields.text("path", required=True), tuple(word for _, word in fields.texts("args")))
    fields.number("timeout", _NUMBER_MAX)
    fields.close()
    return hook


def _others(fields: Fields) -> list[tuple[str, bool]]:
    """Read only to know a spec that is broken from one that asks for too much."""
    interfaces = fields.objects("netDevices", since="1.1.0")
    for interface in interfaces:
        interface.text("hostInterfaceName", required=True)
        interface.text("name", required=True)
        interface.close()
    cache = fields.inner("intelRdt", since="0.7.0")
    if cache:
        for name in ("closID", "l3CacheSchema", "memBwSchema"):
            cache.text(name)
        cache.texts("schemata", since="1.1.0")
        cache.boolean("enableMonitoring", since="1.1.0")
        for name in ("enableCMT", "enableMBM"):
            cache.boolean(name)
        cache.close()
    return [("netDevices", bool(interfaces)), ("intelRdt", cache is not None)]
