"""What explains a refusal, gathered from small files once a probe has failed; none is a gate by itself."""

from __future__ import annotations

import os
import re

from fleetbox.hostside.detect import files, gates
from fleetbox.hostside.detect.attempt import Prober
from fleetbox.hostside.detect.bwrap import is_setuid
from fleetbox.hostside.detect.explain import Evidence
from fleetbox.hostside.paths import Places

_SYSCTLS = (gates.CLONE, gates.APPARMOR, *map(gates.maximum, gates.KINDS))
# Set inside by the sandboxes of that name.
_SANDBOX_VARIABLES = {
    "FLEETBOX_SANDBOX": "fleetbox",
    "CODEX_SANDBOX": "Codex",
    "CODEX_SANDBOX_NETWORK_DISABLED": "Codex",
    "SANDBOX_RUNTIME": "srt",
}
_CONTAINER_FILES = {"/.dockerenv": "Docker", "/run/.containerenv": "Podman"}
_CONTAINER_GROUP = re.compile(r"\b(docker|kubepods|libpod|lxc|buildkit)\b")
# gVisor answers the same build date on every machine.
_GVISOR = re.compile(r"gvisor|#1 SMP Sun Jan 10 15:06:54 PST 2016", re.IGNORECASE)


def gather(places: Places, prober: Prober, bwrap: str | None) -> Evidence:
    """Everything that `explain` asks about; `bwrap` is the program that failed."""
    return Evidence(
        sysctls=sysctls(places),
        kernel_has_userns=os.path.lexists(places.under("/proc/self/ns/user")),
        rhel7_off=files.text(places.under("/sys/module/user_namespace/parameters/enable")) == "N",
        sandbox=sandbox(places, os.environ),
        chroot=_is_chroot(places),
        container=container(places),
        gvisor=bool(_GVISOR.search(files.text(places.under("/proc/version")))),
        selinux=_selinux(places),
        apparmor_label=_apparmor_label(places, prober, bwrap),
        setuid_without_privileges=_without_privileges(places) and bwrap is not None and is_setuid(bwrap),
    )


def sysctls(places: Places) -> dict[str, int]:
    """The settings that explain a refusal, where this kernel has them."""
    found = {name: files.number(places.under(f"/proc/sys/{name.replace('.', '/')}")) for name in _SYSCTLS}
    return {name: value for name, value in found.items() if value is not None}


def sandbox(places: Places, environment: os._Environ[str] | dict[str, str]) -> str:
    """The sandbox that this process already runs in, by the mark that it leaves or by its process 1."""
    for variable, name in _SANDBOX_VARIABLES.items():
        if variable in environment:
            return f"inside {name} ({variable} is set)"
    return (
        "inside bubblewrap (process 1 is bwrap)"
        if files.text(places.under("/proc/1/comm")) == "bwrap"
        else ""
    )


def container(places: Places) -> str:
    """The container engine around this host, as far as it shows itself."""
    for path, name in _CONTAINER_FILES.items():
        if os.path.lexists(places.under(path)):
            return f"{name} ({path} exists)"
    manager = files.text(places.under("/run/systemd/container"))[:40]
    group = _CONTAINER_GROUP.search(files.text(places.under("/proc/1/cgroup")))
    return manager or (group[1] if group else "")


def _without_privileges(places: Places) -> bool:
    return bool(re.search(r"^NoNewPrivs:\s*1$", files.text(places.under("/proc/self/status")), re.MULTILINE))


def _is_chroot(places: Places) -> bool:
    """A process in a chroot sees no mount at its own root, unless the tree is a mount itself."""
    mounts = files.text(places.under("/proc/self/mountinfo"))
    return bool(mounts) and not any(line.split()[4:5] == ["/"] for line in mounts.splitlines())


def _selinux(places: Places) -> str:
    """The context of this process where SELinux enforces and it is a confined user's."""
    if files.text(places.under("/sys/fs/selinux/enforce")) != "1":
        return ""
    context = files.text(places.under("/proc/self/attr/current")).rstrip("\0")
    return "" if context.startswith(("unconfined_u:", "system_u:system_r:unconfined")) else context[:200]


def _apparmor_label(places: Places, prober: Prober, bwrap: str | None) -> str:
    """The profile in enforce mode that the kernel gives to this bwrap, as the kernel names it."""
    if bwrap is None or files.text(places.under("/sys/module/apparmor/parameters/enabled")) != "Y":
        return ""
    label = prober.label([bwrap, "--args", "0", "--version"])
    return label if label.endswith("(enforce)") else ""
