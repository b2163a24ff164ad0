"""A CDI device as what a sandbox can be given of it, or the reasons why it cannot be used (docs/gpu-map.md).

What only the launch knows is left to it: whether a node is there, is a device and has its numbers; whether
the caller is in a group.
"""

from __future__ import annotations

import os
import re
from typing import TypeVar

from fleetbox.hostside import gpu_words
from fleetbox.hostside import nodes as closed
from fleetbox.hostside.cdi import spec
from fleetbox.hostside.gpu_map import Device, Entry, Mount, Node, Refused, Variable
from fleetbox.hostside.text import escape

_ENV = re.compile(r"(NVIDIA_|CUDA_|HIP_|ROCR_|ZE_|__EGL|VK_)[A-Za-z0-9_]*")
_ENV_REFUSED = re.compile(r"LD_PRELOAD|LD_AUDIT|PATH|.*PYTHON.*")
# These name files that a library loads; without them it finds the ones that are installed.
_ENV_LOADS = re.compile(
    r"CUDA_INJECTION(32|64)_PATH|VK_(ADD_)?(IMPLICIT_)?LAYER_PATH|VK_INSTANCE_LAYERS|VK_LOADER_.*|VK_ICD_FILENAMES"
    r"|VK_(ADD_)?DRIVER_FILES|ZE_ENABLE_(LOADER_INTERCEPT|ALT_DRIVERS|TRACING_LAYER)"
    r"|__EGL_VENDOR_LIBRARY_(FILENAMES|DIRS)|__EGL_EXTERNAL_PLATFORM_.*"
)
_CLOSED = ("/root", "/home", "/proc", "/sys", "/dev", "/run/docker.sock", "/var/run/docker.sock")
# Where drivers are installed, by nobody but root. Elsewhere are the sockets of the host's services, and
# places like /tmp in which a workload can plant a link.
_INSTALLED = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc", "/nix/store")
_OPENGL = "/run/opengl-driver"
_BY_PATH = "/dev/dri/by-path"
_MOUNT_TYPES = ("", "none", "bind")
_NODE_TYPES = {"b": "a block device is a disk", "p": "a pipe is no device"}
_NVIDIA_HOOKS = (
    "create-symlinks",
    "update-ldcache",
    "enable-cuda-compat",
    "chmod",
    "update-application-profile",
    "disable-device-node-modification",
)

_Part = TypeVar("_Part")


def translate(whole: spec.Edits, device: spec.Device) -> tuple[Entry, list[str]]:
    """`device` with the edits of its whole spec; with it, what of it is ignored."""
    made = _Translation()
    for edits in (whole, device.edits):
        made.add(edits)
    if not made.refused and not (made.nodes or made.mounts or made.variables):
        made.refused.append("nothing is left of it")
    if made.refused:
        return Refused(device.name, short("; ".join(made.refused))), []
    mounts = sorted(made.mounts.values(), key=lambda mount: (mount.path.count("/"), mount.path))
    nodes, variables = tuple(made.nodes.values()), tuple(made.variables.values())
    return Device(device.name, nodes, tuple(mounts), variables, tuple(sorted(made.groups))), made.notes


def short(text: str) -> str:
    """`text` as a map can hold it."""
    shown = escape(text)
    return shown if len(shown) <= gpu_words.TEXT_MAX else f"{shown[: gpu_words.TEXT_MAX - 3]}..."


class _Translation:
    """What was made of the edits so far. A later edit replaces an earlier one of the same place."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.mounts: dict[str, Mount] = {}
        self.variables: dict[str, Variable] = {}
        self.groups: set[int] = set()
        self.refused: list[str] = []
        self.notes: list[str] = []

    def add(self, edits: spec.Edits) -> None:
        for node in edits.nodes:
            self._node(node)
        for mount in edits.mounts:
            self._mount(mount)
        for variable in edits.env:
            self._variable(variable)
        for hook in edits.hooks:
            self._hook(hook)
        self.groups.update(group for group in edits.groups if group != 0)
        self.refused += [f"{field} is nothing that a sandbox can be given" for field in edits.others]

    def _node(self, node: spec.Node) -> None:
        host_path = node.host_path or node.path
        problem = _NODE_TYPES.get(node.type) or _node_problem(host_path, node.path)
        if problem:
            self.refused.append(f"node {host_path}: {problem}")
        elif closed.DISPLAY.fullmatch(host_path):
            self.notes.append(f"{host_path} is left out; a policy that needs it names it in devices.allow")
        else:
            _put(self.nodes, node.path, Node(host_path, node.path, node.major, node.minor))
            if node.permissions and "w" not in node.permissions:
                self.notes.append(f"{host_path} is writable, though permissions are {node.permissions}")

    def _mount(self, mount: spec.Mount) -> None:
        if _is_at_or_below(mount.path, _BY_PATH) and mount.host_path == mount.path:
            self.notes.append(f"{mount.path} is left out: it only names nodes")
            return
        problem = _mount_problem(mount)
        if problem:
            self.refused.append(f"mount {mount.path}: {problem}")
        elif not _is_installed(mount.path):
            self.notes.append(f"mount {mount.path} is left out: it is not where drivers are installed")
        else:
            _put(self.mounts, mount.path, Mount(mount.host_path, mount.path))

    def _variable(self, text: str) -> None:
        name, _, value = text.partition("=")
        if _ENV_REFUSED.fullmatch(name):
            self.refused.append(f"env {name}: it decides which code is run")
        elif _ENV_LOADS.fullmatch(name):
            self.notes.append(f"env {name} is left out: it decides which code is run")
        elif _ENV.fullmatch(name) and gpu_words.is_variable(name):
            _put(self.variables, name, Variable(name, value))
        else:
            self.notes.append(f"env {name} is left out: it is not a variable of GPUs")

    def _hook(self, hook: spec.Hook) -> None:
        name = _nvidia_hook(hook)
        if name:
            self.notes.append(f"hook {name} is not run: a sandbox shows the host's own files")
        else:
            command = " ".join((hook.path, *hook.args[1:2]))
            self.refused.append(f"hook {command}: a command of the host, and not one that can be left out")


def _put(among: dict[str, _Part], name: str, value: _Part) -> None:
    """Also in its place: what is added later comes later."""
    among.pop(name, None)
    among[name] = value


def _node_problem(host_path: str, path: str) -> str:
    if not (gpu_words.is_node(host_path) and gpu_words.is_node(path)):
        return "not a plain path below /dev"
    if host_path != path:
        return f"shown as {path}, and a sandbox shows each node in its own place"
    if not (closed.COMPUTE.fullmatch(path) or closed.DISPLAY.fullmatch(path)):
        return "no node of a GPU or an accelerator"
    return ""


def _mount_problem(mount: spec.Mount) -> str:
    if mount.type not in _MOUNT_TYPES:
        return f"type {mount.type} is not bind"
    if not (gpu_words.is_path(mount.host_path) and gpu_words.is_path(mount.path)):
        return f"not a plain absolute path, or {mount.host_path} is not"
    if mount.path in ("/", "/etc") or any(_is_at_or_below(mount.path, place) for place in _CLOSED):
        return "a place that no CDI spec changes"
    if _is_at_or_below(mount.path, "/etc") and mount.host_path != mount.path:
        return f"{mount.host_path} would replace a setting of the system"
    if _is_installed(mount.path) and mount.host_path != mount.path:
        return f"shows {mount.host_path}, and a sandbox shows each file in its own place"
    return ""


def _is_installed(path: str) -> bool:
    below = any(path.startswith(f"{place}/") for place in _INSTALLED)
    return below or _is_at_or_below(path, _OPENGL)


def _is_at_or_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory}/")


def _nvidia_hook(hook: spec.Hook) -> str:
    """The name of a hook whose work a sandbox does not need; "" for any other command."""
    program = os.path.basename(hook.path)
    if program == "nvidia-cdi-hook":
        name = hook.args[1:2]
    elif program == "nvidia-ctk" and hook.args[1:2] == ("hook",):
        name = hook.args[2:3]
    else:
        return ""
    return name[0] if name and name[0] in _NVIDIA_HOOKS else ""
