"""Probes of a workload's namespaces, privileges and system calls (FBX-SBX-001, FBX-NS, FBX-SYS-001)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fleetbox.hostside.probes.outcome import FAIL, INCONCLUSIVE, PASS, Attempt, Control, Tried, Verdict
from fleetbox.hostside.probes.scene import Scene
from fleetbox.hostside.probes.trial import Asked, Compared, Denied, Prepared

# Shared in some policies: net with `network: host`, pid with `allow_host_pids`, cgroup where bwrap cannot.
OWN_NAMESPACES = ("user", "mnt", "ipc", "uts")
FILTERED = "2"  # SECCOMP_MODE_FILTER
FORBIDDEN = (
    "ptrace", "keyctl", "add_key", "process_vm_readv", "io_uring_setup", "userfaultfd", "perf_event_open",
    "bpf", "AF_ALG", "AF_VSOCK",
)  # fmt: skip


def sandbox_active(scene: Scene, asked: Asked) -> Prepared:
    """FBX-SBX-001: namespaces of its own, and a filter.

    `params.host_mounts`: without bubblewrap there are none; the checks of files and processes say the rest.
    """
    expected = "own user, mount, IPC and UTS namespaces, and a system call filter"
    accepted = bool(asked.params.get("host_mounts"))

    def compare(looks: Sequence[Tried]) -> Verdict:
        inside, outside = json.loads(looks[0].inside.value), json.loads(looks[0].outside.value)
        shared = [name for name in OWN_NAMESPACES if inside[name] == outside[name]]
        alone = accepted and shared == list(OWN_NAMESPACES)
        missing = [f"shares the host's {', '.join(shared)} namespace"] if shared and not alone else []
        if json.loads(looks[1].inside.value)["Seccomp"] != FILTERED:
            missing.append("no system call filter")
        controls = (Control(True, "the host's namespaces were read"), Control(True, "its own were read"))
        seen = {"op": "namespaces"}
        if missing:
            return Verdict(FAIL, "sandbox_inactive", "; ".join(missing), expected, seen, *controls)
        how = (
            "a filter, and no namespaces, which the policy accepts"
            if alone
            else "own namespaces and a filter"
        )
        return Verdict(PASS, "isolated", how, expected, seen, *controls)

    return Compared(expected, [Attempt("namespaces", {}), Attempt("status", {})], compare)


def user_namespaces(scene: Scene, asked: Asked) -> Prepared:
    """FBX-NS-001: by each of the three system calls that make one."""
    doors = [Attempt("user_namespace", {"door": door}) for door in ("unshare", "clone", "clone3")]
    return Denied("no user namespace can be made inside", doors, [Attempt("own_child", {})])


def privileges(scene: Scene, asked: Asked) -> Prepared:
    """FBX-NS-002. Where the world outside is as restricted, nothing can be said of the sandbox.

    `params.host_mounts`: without a user namespace nobody may empty the bounding set; no_new_privs idles it.
    """
    expected = "no_new_privs is set and every capability set is empty"
    idle = ("CapBnd",) if asked.params.get("host_mounts") else ()

    def compare(looks: Sequence[Tried]) -> Verdict:
        inside, outside = json.loads(looks[0].inside.value), json.loads(looks[0].outside.value)
        held = [name for name, value in inside.items() if name.startswith("Cap") and int(value, 16)]
        wrong = [f"{name} is {inside[name]}" for name in held if name not in idle]
        if inside["NoNewPrivs"] != "1":
            wrong.append("no_new_privs is not set")
        clean = outside["NoNewPrivs"] == "0" and int(outside["CapBnd"], 16) != 0
        controls = (Control(clean, "outside neither holds" if clean else "outside is restricted, too"),
                    Control(True, "its own status was read"))  # fmt: skip
        seen = {"op": "status"}
        if wrong:
            return Verdict(FAIL, "not_denied", "; ".join(wrong), expected, seen, *controls)
        if not clean:
            return Verdict(INCONCLUSIVE, "control_failed", controls[0].detail, expected, seen, *controls)
        return Verdict(PASS, "unprivileged", expected, expected, seen, *controls)

    return Compared(expected, [Attempt("status", {})], compare)


def host_processes(scene: Scene, asked: Asked) -> Prepared:
    """FBX-NS-003."""
    twin = Attempt("see_own_process", {"name": "twin" + scene.token[:10]})
    target = Attempt("see_process", {"name": scene.process})
    return Denied("processes of the host are not seen", [target], [twin])


def system_calls(scene: Scene, asked: Asked) -> Prepared:
    """FBX-SYS-001: those that this kernel and user may make outside."""
    calls = [Attempt("forbidden", {"name": name}) for name in FORBIDDEN]
    return Denied("dangerous system calls are denied", calls, [Attempt("own_syscall", {})], needed=0)
