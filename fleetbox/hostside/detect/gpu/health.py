"""Whether a GPU can be used, by what a kernel shows: pure but for the files that it is pointed to.

The first thing that is wrong is the answer, in the order in which a remedy would have to come.
"""

from __future__ import annotations

import grp
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from fleetbox.hostside.detect import files
from fleetbox.hostside.detect.gpu import model
from fleetbox.hostside.detect.gpu.remedies import remedy
from fleetbox.hostside.paths import Places

# Paths → what opening each for reading and writing came to: "" or the name of the errno. A path that was not
# tried, because a probe hung for example, is not there.
Opens = Callable[[Sequence[str]], Mapping[str, str]]

NOT_TRIED = "could not be tried"
_NOT_THERE = {"ENXIO", "ENODEV"}
_FORBIDDEN = {"EACCES", "EPERM"}
_CACHE_MAX = 16 * 1024 * 1024
# Beside what ldconfig knows: NixOS, WSL2, ROCm and the plain ones.
_LIBRARIES = (
    *("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"),
    *("/run/opengl-driver/lib", "/usr/lib/wsl/lib", "/opt/rocm/lib"),
)


class Needs(NamedTuple):
    """What must be there for a GPU to compute.

    modules: the names of drivers of which one suffices; bound: whether one has the device; holder: what has
    it instead, "" for nothing. nodes: all of them; quiet: those that are not opened to try them, because that
    would wake the GPU for seconds. libraries: one of them suffices.
    """

    modules: Sequence[str]
    bound: bool
    nodes: Sequence[str]
    quiet: Sequence[str]
    libraries: Sequence[str]
    holder: str = ""


def judge(places: Places, vendor: str, needs: Needs, opens: Opens) -> tuple[str, str, str]:
    """`health`, `means` and `remedy` of a Gpu."""
    health, means = _judge(places, needs, opens)
    return health, means, remedy(vendor, health)


def _judge(places: Places, needs: Needs, opens: Opens) -> tuple[str, str]:
    there = [node for node in needs.nodes if files.is_character_device(places.under(node))]
    if not needs.bound:
        return _without_driver(places, needs, there)
    missing = [node for node in needs.nodes if node not in there]
    if missing or not needs.nodes:
        return model.NODE_MISSING, ", ".join(missing) or "the driver shows none"
    return _opened(places, needs, opens) or _libraries(places, needs) or (model.OK, "")


def _without_driver(places: Places, needs: Needs, there: Sequence[str]) -> tuple[str, str]:
    names = " or ".join(needs.modules)
    if any(os.path.isdir(places.under(f"/sys/module/{name.replace('-', '_')}")) for name in needs.modules):
        return model.NO_DRIVER, f"{names} is loaded, and {needs.holder or 'no driver'} has this one"
    if there:
        return model.NODE_WITHOUT_DRIVER, f"{', '.join(there)}: left over, the module {names} is not loaded"
    if any(_is_installed(places, name) for name in needs.modules):
        return model.MODULE_NOT_LOADED, f"{names} is installed for this kernel"
    return model.NO_DRIVER, f"no module {names} for this kernel"


def _opened(places: Places, needs: Needs, opens: Opens) -> tuple[str, str] | None:
    tried = [node for node in needs.nodes if node not in needs.quiet]
    answers = opens([places.under(node) for node in tried])
    for node in tried:
        answer = answers.get(places.under(node), NOT_TRIED)
        if answer in _NOT_THERE:
            return model.NODE_WITHOUT_DRIVER, f"{node}: {answer}"
        if answer:
            return model.NODE_UNREADABLE, _why_unreadable(places, node, answer)
    return None


def _why_unreadable(places: Places, node: str, answer: str) -> str:
    """With the group that would help, where there is one."""
    try:
        status = os.stat(places.under(node))
    except OSError:
        return f"{node}: {answer}"
    group = _group(status.st_gid)
    helps = answer in _FORBIDDEN and status.st_gid != 0 and (status.st_mode & 0o060) == 0o060
    return f"{node}: {answer}, only for group {group}" if helps else f"{node}: {answer}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _libraries(places: Places, needs: Needs) -> tuple[str, str] | None:
    cache = _bytes(places.under("/etc/ld.so.cache"))
    for name in needs.libraries:
        if b"\0" + name.encode() + b"\0" in cache:
            return None
        if any(os.path.exists(places.under(f"{directory}/{name}")) for directory in _LIBRARIES):
            return None
    return (model.LIBRARY_MISSING, " or ".join(needs.libraries)) if needs.libraries else None


def _is_installed(places: Places, module: str) -> bool:
    """Whether depmod knows it for the running kernel; `nvidia-drm` is a file of the name `nvidia-drm.ko`."""
    release = files.text(places.under("/proc/sys/kernel/osrelease"))
    known = _bytes(places.under(f"/lib/modules/{release}/modules.dep"))
    return any(
        os.path.basename(line.split(b":", 1)[0]).startswith(f"{module}.ko".encode())
        for line in known.split(b"\n")
    )


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_CACHE_MAX)
    except OSError:
        return b""
