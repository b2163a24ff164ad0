"""The words that a field may have, and the names and variables that a policy begins with."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Mode(StrEnum):
    READ_ONLY = "read-only"
    WORKSPACE_WRITE = "workspace-write"
    FULL_ACCESS = "full-access"


class Access(StrEnum):
    WRITE = "write"
    READ = "read"
    NONE = "none"


class Root(StrEnum):
    HOST = "host"
    MINIMAL = "minimal"


class Tmp(StrEnum):
    NONE = "none"
    PRIVATE = "private"
    HOST = "host"


class NetworkMode(StrEnum):
    NONE = "none"
    PROXY = "proxy"
    HOST = "host"


class UnixSockets(StrEnum):
    AUTO = "auto"
    NONE = "none"
    PRIVATE = "private"


class GpuMode(StrEnum):
    NONE = "none"
    AUTO = "auto"
    REQUIRED = "required"


class GpuVendor(StrEnum):
    NVIDIA = "nvidia"
    AMD = "amd"
    INTEL = "intel"
    WSL = "wsl"
    APPLE = "apple"
    JETSON = "jetson"
    CDI = "cdi"


# Only where a policy names them: the memory driver of a Tegra has a long history of privilege escalations,
# and what a CDI specification opens is for its author to say.
GPU_VENDORS_BY_NAME = frozenset({GpuVendor.JETSON, GpuVendor.CDI})


class GpuProfile(StrEnum):
    COMPUTE = "compute"
    GRAPHICS = "graphics"


class Landlock(StrEnum):
    OFF = "off"
    BEST_EFFORT = "best-effort"
    REQUIRED = "required"


class Mutability(StrEnum):
    """When a change takes effect: at the next launch, or in sandboxes that run."""

    STATIC = "static"
    LIVE = "live"


# Widest last. Comparing two values of a field means comparing their places here.
STRENGTH: Mapping[Access, int] = MappingProxyType({Access.NONE: 0, Access.READ: 1, Access.WRITE: 2})

PROTECTED = (".agents", ".aws", ".claude", ".codex", ".git")
# What stays read-only when the name itself is unprotected: a hook or a setting that git runs is code, and
# worktrees and submodules keep hooks and settings of their own in there.
PROTECTED_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {".git": ("config", "config.worktree", "hooks", "modules", "worktrees")}
)

ENVIRONMENT = (
    "CUDA_*", "HOME", "LANG", "LC_*", "PATH", "SHELL", "TERM", "TZ", "USER", "VIRTUAL_ENV",
)  # fmt: skip
