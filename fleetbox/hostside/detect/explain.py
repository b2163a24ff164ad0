"""Which gate a failed probe stands for: a pure function of the layer, the words and the evidence.

Definite settings come first, then what surrounds this process, then what can only be supposed. The launcher
decides by the same order (launcher/gate.c); tests/integration/launcher/test_gates.py compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Optional

from fleetbox.hostside.detect import gates

_OTHER_KINDS = tuple(kind for kind in gates.KINDS if kind not in ("user", "net"))


class Blocked(NamedTuple):
    """The layer without which a sandbox works, and what the program that failed on it said.

    "user": none works, however little is asked for. "stuck": it did not end.
    """

    layer: str
    said: str


class Evidence(NamedTuple):
    """What explains a refusal; texts are "" where there is none."""

    sysctls: Mapping[str, int] = {}
    kernel_has_userns: bool = True
    rhel7_off: bool = False
    sandbox: str = ""
    chroot: bool = False
    container: str = ""
    gvisor: bool = False
    selinux: str = ""
    apparmor_label: str = ""
    setuid_without_privileges: bool = False


def gate(blocked: Blocked, evidence: Evidence) -> gates.Gate:
    """The gate behind what the probe found, and its symptom here."""
    if "setuid use of bubblewrap" in blocked.said:
        return gates.gate("bwrap_setuid", blocked.said)
    name = _BY_LAYER.get(blocked.layer, _general)(blocked.said, evidence)
    detail = _detail(name, evidence)
    return gates.gate(name, "; ".join(filter(None, [detail, blocked.said])))


def _detail(name: str, evidence: Evidence) -> str:
    """What of the evidence decided, where the words of the gate do not say it already."""
    if name == "ns_max_zero":
        return ", ".join(f"{key} is 0" for key in _zeros(evidence))
    return {
        "nested_sandbox": evidence.sandbox,
        "container": evidence.container,
        "userns_selinux": evidence.selinux,
        "apparmor_profile": evidence.apparmor_label,
    }.get(name, "")


def _zeros(evidence: Evidence) -> list[str]:
    return [key for key in map(gates.maximum, _OTHER_KINDS) if evidence.sysctls.get(key) == 0]


def _user(said: str, evidence: Evidence) -> str:
    if not evidence.kernel_has_userns:
        return "userns_rhel7" if evidence.rhel7_off else "no_userns_kernel"
    if evidence.rhel7_off:
        return "userns_rhel7"
    if evidence.sandbox:
        return "nested_sandbox"
    if evidence.sysctls.get(gates.CLONE) == 0:
        return "userns_clone_sysctl"
    if evidence.sysctls.get(gates.maximum("user")) == 0:
        return "userns_max_zero"
    return _general(said, evidence)


def _general(said: str, evidence: Evidence) -> str:
    """What may stop any layer."""
    if evidence.sandbox:
        return "nested_sandbox"
    if _exhausted(said):
        return "ns_max_zero" if _zeros(evidence) else "userns_exhausted"
    return _surroundings(evidence) or "userns_errno"


def _surroundings(evidence: Evidence) -> Optional[str]:
    if evidence.setuid_without_privileges:
        return "bwrap_no_new_privs"
    if evidence.apparmor_label:
        return "apparmor_profile"
    if evidence.sysctls.get(gates.APPARMOR) == 1:
        return "userns_apparmor"
    if evidence.chroot:
        return "chroot"
    if evidence.selinux:
        return "userns_selinux"
    return "container" if evidence.container else None


def _net(_said: str, evidence: Evidence) -> str:
    if evidence.sandbox:
        return "nested_sandbox"
    if evidence.sysctls.get(gates.maximum("net")) == 0:
        return "netns_max_zero"
    if evidence.gvisor:
        return "gvisor"
    return _surroundings(evidence) or "no_netns"


def _exhausted(said: str) -> bool:
    """bwrap's words for ENOSPC, and everybody else's."""
    return "ENOSPC" in said or "No space left on device" in said


_BY_LAYER: dict[str, Callable[[str, Evidence], str]] = {
    "user": _user,
    "net": _net,
    "proc": lambda _said, evidence: "nested_sandbox" if evidence.sandbox else "proc_masked",
    "root": lambda _said, _evidence: "root_refused",
    "stuck": lambda _said, _evidence: "mount_stuck",
}
