"""GPUs that are a render node (Intel's; AMD's have one more for all of them), and those of WSL2 and Tegra."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from fleetbox.hostside.detect import files
from fleetbox.hostside.detect.gpu import health, model, pci
from fleetbox.hostside.detect.gpu.health import Needs, Opens
from fleetbox.hostside.detect.gpu.model import TEXT_MAX, Gpu
from fleetbox.hostside.detect.gpu.remedies import remedy
from fleetbox.hostside.paths import Places

DXG = "/dev/dxg"
KFD = "/dev/kfd"
_WSL_DRIVERS = "/usr/lib/wsl/drivers"
_TEGRA_RELEASE = "/etc/nv_tegra_release"
_TEGRA_NODES = ("nvmap", "nvhost-ctrl-gpu", "nvhost-gpu", "nvhost-as-gpu", "nvhost-prof-gpu", "nvsciipc")


class _Rendering(NamedTuple):
    """What GPUs of one vendor have in common."""

    vendor: str
    modules: Sequence[str]
    shared: Sequence[str]
    libraries: Sequence[str]

    def gpu(self, places: Places, opens: Opens, display: pci.Display) -> Gpu:
        bound = display.driver in self.modules
        nodes = [*self.shared, *display.render] if display.render or not bound else []
        needs = Needs(self.modules, bound, nodes, [], self.libraries, display.driver)
        verdict = health.judge(places, self.vendor, needs, opens)
        name = files.text(f"{display.path}/product_name") or f"PCI device {display.device[2:]}"
        unique = files.text(f"{display.path}/unique_id")
        uuid = f"GPU-{unique}" if unique else ""
        version = files.text(places.under(f"/sys/module/{display.driver}/version")) if bound else ""
        texts = (name[:TEXT_MAX], uuid[:TEXT_MAX], display.address)
        return Gpu(self.vendor, *texts, None, version[:TEXT_MAX], nodes, *verdict, [])


_AMD = _Rendering("amd", ["amdgpu"], [KFD], ["libhsa-runtime64.so.1"])
_INTEL = _Rendering("intel", ["xe", "i915"], [], ["libze_intel_gpu.so.1", "libze_loader.so.1"])


def amd(places: Places, opens: Opens) -> list[Gpu]:
    """The kfd node computes on every GPU; only the render node is one GPU's own."""
    found = [_AMD.gpu(places, opens, one) for one in pci.displays(places) if one.vendor == pci.AMD]
    if not found and files.is_character_device(places.under(KFD)):
        bound = os.path.isdir(places.under("/sys/class/kfd/kfd/topology"))
        verdict = health.judge(places, "amd", Needs(_AMD.modules, bound, [KFD], [], _AMD.libraries), opens)
        return [Gpu("amd", "", "", "", None, "", [KFD], *verdict, [])]
    return found


def intel(places: Places, opens: Opens) -> list[Gpu]:
    """Also those that a processor brings along."""
    return [_INTEL.gpu(places, opens, one) for one in pci.displays(places) if one.vendor == pci.INTEL]


def wsl(places: Places, opens: Opens) -> list[Gpu]:
    """Everything that Windows shares is behind one node; which GPU computes is for its library to choose."""
    bound = files.is_character_device(places.under(DXG))
    needs = Needs(["dxgkrnl"], bound, [DXG], [], ["libdxcore.so"])
    verdict = health.judge(places, "wsl", needs, opens) if bound else _no_dxg(places)
    drivers = [name for name in files.names(places.under(_WSL_DRIVERS)) if ".inf_" in name]
    return [Gpu("wsl", "GPU of Windows", "", "", None, ", ".join(drivers)[:TEXT_MAX], [DXG], *verdict, [])]


def _no_dxg(places: Places) -> tuple[str, str, str]:
    shared = os.path.isdir(places.under(_WSL_DRIVERS))
    means = f"{DXG}: {'the kernel has no dxgkrnl' if shared else 'Windows shares no GPU'}"
    return model.NODE_MISSING, means, remedy("wsl", model.NODE_MISSING)


def jetson(places: Places, opens: Opens) -> list[Gpu]:
    """The GPU in a Tegra; no PCI device, and no control node of the desktop driver."""
    paths = [f"/dev/{name}" for name in _TEGRA_NODES]
    nodes = [path for path in paths if files.is_character_device(places.under(path))]
    verdict = health.judge(
        places, "jetson", Needs(["nvgpu"], bool(nodes), nodes, [], ["libcuda.so.1"]), opens
    )
    name = files.text(places.under("/proc/device-tree/model")).strip("\0")
    release = files.text(places.under(_TEGRA_RELEASE)).splitlines()
    driver = release[0].lstrip("# ")[:TEXT_MAX] if release else ""
    return [Gpu("jetson", name[:TEXT_MAX], "", "", None, driver, nodes, *verdict, [])]


def is_jetson(places: Places) -> bool:
    family = files.text(places.under("/sys/devices/soc0/family")).lower()
    return os.path.exists(places.under(_TEGRA_RELEASE)) or family.startswith("tegra")
