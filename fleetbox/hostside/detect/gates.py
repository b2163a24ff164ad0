"""The gates: every reason why a host cannot sandbox, each with what to do about it.

The functional probe says *that* and *where* a sandbox fails (`userns`); here that becomes a named problem
and its remedy. A setting is only ever the explanation of a failure, never taken for one by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from fleetbox.hostside import paths

APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"
CLONE = "kernel.unprivileged_userns_clone"
MAXIMUM = "user.max_user_namespaces"
ENOUGH_NAMESPACES = 15000

_UNCONFINED = " ".join(f"--security-opt {what}=unconfined" for what in ("seccomp", "apparmor", "systempaths"))


class Gate(TypedDict):
    """`fixable_by_role`: site.yml opens it; otherwise a person has to."""

    id: str
    problem: str
    remedy: str
    fixable_by_role: bool


def wsl1() -> Gate:
    return Gate(
        id="wsl1",
        problem="this is WSL1, which cannot create user namespaces",
        remedy="in PowerShell on Windows: wsl --set-version <distro> 2",
        fixable_by_role=False,
    )


def explain(blocked: str, said: str, sysctls: Mapping[str, int], *, kernel_has_userns: bool) -> Gate:
    """The gate behind a failed probe.

    `blocked` is the layer without which a sandbox works: "user" when not even a user namespace can be had,
    else "net", "pid" or "proc". `said` is the first line of what failed.
    """
    if sysctls.get(APPARMOR) == 1 and blocked != "proc":
        return _apparmor(said)
    if blocked == "user":
        return _without_user_namespace(said, sysctls, kernel_has_userns=kernel_has_userns)
    return {"net": _no_network_namespace, "proc": _proc_masked}.get(blocked, _refused)(said)


def _without_user_namespace(said: str, sysctls: Mapping[str, int], *, kernel_has_userns: bool) -> Gate:
    if not kernel_has_userns:
        return _kernel_without(said)
    if sysctls.get(CLONE) == 0:
        return _clone_sysctl()
    if sysctls.get(MAXIMUM) == 0 or _exhausted(said):
        return _maximum(sysctls.get(MAXIMUM))
    return _refused(said)


def _exhausted(said: str) -> bool:
    """bwrap's words for ENOSPC, and everybody else's."""
    return "ENOSPC" in said or "No space left on device" in said


def _maximum(limit: int | None) -> Gate:
    few = limit is None or limit < ENOUGH_NAMESPACES
    remedy = f"{MAXIMUM} = {ENOUGH_NAMESPACES} in a file of /etc/sysctl.d, then sysctl --system"
    inherited = "raise the limit in the container or user namespace around this host, or nest less deeply"
    return Gate(
        id="userns_max_zero",
        problem=f"no user namespaces may be created: {MAXIMUM} is {limit}"
        + (" and used up" if limit else ""),
        remedy=remedy if few else inherited,
        fixable_by_role=few,
    )


def _clone_sysctl() -> Gate:
    return Gate(
        id="userns_clone_sysctl",
        problem=f"unprivileged user namespaces are switched off: {CLONE} is 0",
        remedy=f"{CLONE} = 1 in a file of /etc/sysctl.d, then sysctl --system",
        fixable_by_role=True,
    )


def _apparmor(said: str) -> Gate:
    return Gate(
        id="userns_apparmor",
        problem=f"AppArmor restricts unprivileged user namespaces ({APPARMOR} is 1): {said}",
        remedy=(
            f"install a root-owned {paths.BWRAP} with an AppArmor profile of its own that allows userns;"
            f" only as a last resort {APPARMOR} = 0, which lifts the restriction for every program"
        ),
        fixable_by_role=True,
    )


def _refused(said: str) -> Gate:
    return Gate(
        id="userns_errno",
        problem=f"the kernel or a seccomp filter refuses to make namespaces: {said}",
        remedy=(
            f"in a container, start it with {_UNCONFINED}; on RHEL 7, grubby --update-kernel=ALL"
            ' --args="user_namespace.enable=1" and reboot; with SELinux, look for denials of userns_create'
        ),
        fixable_by_role=False,
    )


def _proc_masked(said: str) -> Gate:
    return Gate(
        id="proc_masked",
        problem=f"a fresh /proc cannot be mounted, because parts of this one are masked: {said}",
        remedy=(
            "start the container with --security-opt systempaths=unconfined; or set process.allow_host_pids:"
            " true in the policy, which shows the host's processes to workloads"
        ),
        fixable_by_role=False,
    )


def _no_network_namespace(said: str) -> Gate:
    return Gate(
        id="no_netns",
        problem=f"a network namespace cannot be set up: {said}",
        remedy=(
            "allow network namespaces (user.max_net_namespaces above 0; gVisor and some containers never do);"
            " without them only policies with network.mode: host can run"
        ),
        fixable_by_role=False,
    )


def _kernel_without(said: str) -> Gate:
    return Gate(
        id="no_userns_kernel",
        problem=f"this kernel has no user namespaces: {said}",
        remedy="boot a kernel built with CONFIG_USER_NS=y",
        fixable_by_role=False,
    )
