"""What to do about a GPU that cannot be used, in one line each."""

from __future__ import annotations

from fleetbox.hostside.detect.gpu import model

_GROUP = "role fleetbox.sandbox.gpu with gpu_users, or usermod -aG with that group; then log in again"
_MODULES = {"nvidia": "nvidia", "amd": "amdgpu", "intel": "xe or i915", "jetson": "nvgpu", "wsl": "dxgkrnl"}
_DRIVERS = {
    "nvidia": "install NVIDIA's driver for this kernel: nvidia-driver (Debian), ubuntu-drivers (Ubuntu)",
    "amd": "install a kernel with amdgpu, and its firmware: firmware-amd-graphics",
    "intel": "install a kernel with i915 or xe that knows this GPU",
    "jetson": "install NVIDIA's kernel for this board (L4T)",
    "wsl": "wsl --update in Windows, and a GPU driver there",
}
_NODES = {
    "nvidia": "role fleetbox.sandbox.gpu; until the next boot: nvidia-modprobe -c 255 -c N, then -u -c 0",
    "amd": "udevadm trigger, or look why amdgpu has no compute (dmesg)",
    "intel": "udevadm trigger, or look why the driver shows no render node (dmesg)",
    "jetson": "udevadm trigger, or look why nvgpu makes no nodes (dmesg)",
    "wsl": "wsl --update in Windows, and a GPU driver there; then wsl --shutdown",
}
_LIBRARIES = {
    "nvidia": "install the driver's libraries, of its version: libcuda1 (Debian), libnvidia-compute (Ubuntu)",
    "amd": "install ROCm's runtime: libhsa-runtime64-1",
    "intel": "install Level Zero: libze1 and libze-intel-gpu1",
    "jetson": "install nvidia-l4t-cuda",
    "wsl": "wsl --update in Windows brings /usr/lib/wsl/lib",
}


def remedy(vendor: str, health: str) -> str:
    """What to do; empty only for a GPU that can be used."""
    module = _MODULES[vendor]
    return {
        model.OK: "",
        model.NO_DRIVER: _DRIVERS[vendor],
        model.MODULE_NOT_LOADED: f"as root: modprobe {module}; with Secure Boot it must be signed",
        model.NODE_MISSING: _NODES[vendor],
        model.NODE_UNREADABLE: _GROUP,
        model.NODE_WITHOUT_DRIVER: f"as root: modprobe {module}; after an update of the driver: reboot",
        model.LIBRARY_MISSING: _LIBRARIES[vendor],
    }[health]
