"""NVIDIA's GPUs, by what its driver says in /proc and, for those that it does not have, by PCI."""

from __future__ import annotations

import os
import re

from fleetbox.hostside import gpu_map, paths, records
from fleetbox.hostside.detect import files
from fleetbox.hostside.detect.gpu import health, model, pci
from fleetbox.hostside.detect.gpu.health import Needs, Opens
from fleetbox.hostside.detect.gpu.model import TEXT_MAX, Gpu, Mig
from fleetbox.hostside.gpu_map import MapInvalid
from fleetbox.hostside.paths import Places

PROC = "/proc/driver/nvidia"
CONTROL = "/dev/nvidiactl"
_SHARED = (CONTROL, "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
_FIELDS = {
    "Model": "model", "GPU UUID": "uuid", "Bus Location": "pci", "Device Minor": "minor",
    "GPU Excluded": "excluded",
}  # fmt: skip
# By NVreg_ExcludedGpus: it has a minor, and neither a device for CUDA nor an index.
_EXCLUDED = (
    model.NO_DRIVER, "excluded by the driver's options",
    "take it out of NVreg_ExcludedGpus (/etc/modprobe.d), and reboot",
)  # fmt: skip
_NODE = re.compile(r"nvidia[0-9]{1,4}")
_MINORS_MAX = 1024 * 1024  # a line for every instance that 32 GPUs could have
_MIG = re.compile(r"gpu([0-9]{1,4})/gi([0-9]{1,4})/(?:ci([0-9]{1,4})/)?access ([0-9]{1,6})")


def gpus(places: Places, opens: Opens) -> list[Gpu]:
    """One entry per GPU in PCI order, which is the order of indices."""
    driver = files.text(places.under("/sys/module/nvidia/version"))[:TEXT_MAX]
    known = {name: _said(places, name) for name in files.names(places.under(f"{PROC}/gpus"))}
    displays = {one.address: one for one in pci.displays(places) if one.vendor == pci.NVIDIA}
    minors = _mig_minors(places)
    found = []
    for address in sorted({*known, *displays}):
        said = known.get(address, {})
        excluded = said.get("excluded") == "Yes"
        minor = None if excluded else _number(said.get("minor", ""))
        node = [f"/dev/nvidia{minor}"] if minor is not None else []
        display = displays.get(address)
        needs = _needs(
            [*node, *_SHARED], node, bound=address in known, holder=display.driver if display else ""
        )
        verdict = _EXCLUDED if excluded else health.judge(places, "nvidia", needs, opens)
        name = said.get("model") or _unnamed(display)
        found.append(
            Gpu("nvidia", name, said.get("uuid", ""), said.get("pci") or address, minor, driver,
                list(needs.nodes), *verdict, _mig(places, minors, minor, said.get("pci") or address))
        )  # fmt: skip
    return found or _left_over(places, opens, driver)


def _said(places: Places, address: str) -> dict[str, str]:
    """The driver's own words: `Name: value` a line."""
    lines = files.text(places.under(f"{PROC}/gpus/{address}/information")).splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    named = ((_FIELDS.get(name.strip()), value.strip()[:TEXT_MAX]) for name, value in pairs)
    return {field: value for field, value in named if field}


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len("1048575") else None


def _unnamed(display: pci.Display | None) -> str:
    return f"PCI device {display.device.removeprefix('0x')}" if display else ""


def _needs(nodes: list[str], quiet: list[str], *, bound: bool, holder: str = "") -> Needs:
    return Needs(("nvidia",), bound, nodes, quiet, ("libcuda.so.1",), holder)


def _left_over(places: Places, opens: Opens, driver: str) -> list[Gpu]:
    """Nodes of GPUs that neither driver nor bus shows: in a container, or after the module has gone."""
    if not files.is_character_device(places.under(CONTROL)):
        return []
    numbered = [f"/dev/{name}" for name in files.names(places.under("/dev")) if _NODE.fullmatch(name)]
    own = [path for path in numbered if files.is_character_device(places.under(path))]
    bound = any(os.path.isdir(places.under(path)) for path in (PROC, "/sys/module/nvidia"))
    verdict = health.judge(places, "nvidia", _needs([*own, *_SHARED], own, bound=bound), opens)
    return [Gpu("nvidia", "", "", "", None, driver, [*own, *_SHARED], *verdict, [])]


def _mig_minors(places: Places) -> dict[tuple[int, int, int | None], str]:
    """(GPU, GPU instance, compute instance or None) → the node of the right to it."""
    lines = files.text(places.under("/proc/driver/nvidia-caps/mig-minors"), _MINORS_MAX).splitlines()
    found = {}
    for match in filter(None, map(_MIG.fullmatch, lines)):
        key = (int(match[1]), int(match[2]), int(match[3]) if match[3] else None)
        found[key] = f"/dev/nvidia-caps/nvidia-cap{int(match[4])}"
    return found


def _mig(
    places: Places, minors: dict[tuple[int, int, int | None], str], minor: int | None, address: str
) -> list[Mig]:
    """There are numbers for all that could be made; what has been made has its rights in /proc."""
    found = []
    for (gpu, gi, ci), node in minors.items():
        made = places.under(f"{PROC}/capabilities/gpu{gpu}/mig/gi{gi}/ci{ci}/access")
        if gpu == minor and ci is not None and (gpu, gi, None) in minors and os.path.exists(made):
            found.append(Mig(gi, ci, [minors[gpu, gi, None], node]))
    uuids = _uuids(places, address.lower()) if found else {}
    return sorted(one._replace(uuid=uuids.get(one[:2], "")) for one in found)


def _uuids(places: Places, address: str) -> dict[tuple[int, ...], str]:
    """Those of a GPU's instances by place, as the GPU map has them: facts ask no library."""
    try:
        with open(places.under(paths.GPU_MAP), "rb") as file:
            content = gpu_map.decode(file.read(records.GPU_MAP.limit + 1))
    except (OSError, MapInvalid):
        return {}
    return {(mig.gi, mig.ci): mig.uuid for mig in content.mig if mig.pci == address}
