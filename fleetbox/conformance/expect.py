"""Which checks a policy calls for, with the parameters that their probes need. Pure.

Conformance is conformance to a policy: what a policy gives away on purpose is *not applicable*, with the
reason, and never a pass. `full-access` gives everything away and still owes an active sandbox, which fails.
"""

from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any

from fleetbox.hostside.checks import CHECKS
from fleetbox.policy import Access, GpuMode, Mode, NetworkMode, ResolvedPolicy, Tmp, UnixSockets
from fleetbox.policy.explain import explain

CheckPlan = dict[str, Any]
Params = dict[str, Any]

HOME = "${HOME}"
MAX_PLACES = 64
# Stand-ins: decisions about paths below the home directory do not depend on where it is.
_HOME = PurePath("/home/fleetbox")
_WORKSPACE = PurePath("/var/tmp/fleetbox/workspace")  # noqa: S108

# Credentials that a policy may or may not deny; what it does deny is looked for, whether listed here or not.
CREDENTIALS = (
    ".ssh", ".aws", ".gnupg", ".kube", ".docker", ".azure", ".config/gcloud", ".config/gh", ".netrc",
    ".git-credentials", ".pypirc", ".npmrc", ".pgpass",
)  # fmt: skip
STARTUP = (
    ".bashrc", ".bash_profile", ".profile", ".zshrc", ".config/autostart/fleetbox-probe.desktop",
    ".config/systemd/user/fleetbox-probe.service",
)  # fmt: skip


def checks_for(policy: ResolvedPolicy) -> list[CheckPlan]:
    """[{"id", "params"}] for every check there is, in the catalogue's order.

    A check that the policy has no use for has the one parameter `not_applicable`, which says why.
    """
    return [{"id": check.id, "params": _params(check.id, policy)} for check in CHECKS]


def can_be_checked(policy: ResolvedPolicy) -> bool:
    """Whether probes can run inside: they are Python, which a policy that lists programs may leave out."""
    listed = policy.process.allowed_binaries
    return listed is None or any(PurePath(program).name.startswith("python3") for program in listed)


def _params(check: str, policy: ResolvedPolicy) -> Params:
    if policy.mode is Mode.FULL_ACCESS and check not in _WITHOUT_A_SANDBOX:
        return _not_applicable("the policy is full-access: there is no sandbox")
    return _PARAMS[check](policy) if check in _PARAMS else {}


def _not_applicable(why: str) -> Params:
    return {"not_applicable": why}


def _access(policy: ResolvedPolicy, path: str) -> Access:
    return explain(policy, path, workspace=_WORKSPACE, home=_HOME).access


def _outside_workspace(policy: ResolvedPolicy) -> Params:
    return {"granted": [rule.path for rule in policy.filesystem.rules if rule.access is Access.WRITE]}


def _workspace(policy: ResolvedPolicy) -> Params:
    return {"access": str(policy.filesystem.workspace)}


def _git(policy: ResolvedPolicy) -> Params:
    return {"whole": ".git" in policy.filesystem.protect}


def _settings(policy: ResolvedPolicy) -> Params:
    names = [name for name in policy.filesystem.protect if not name.startswith(".git")]
    return {"names": names} if names else _not_applicable("the policy protects no settings")


def _credentials(policy: ResolvedPolicy) -> Params:
    denied = (rule for rule in policy.filesystem.rules if rule.access is Access.NONE and not rule.is_glob)
    below_home = (rule.path for rule in denied if rule.path.startswith(HOME + "/"))
    candidates = dict.fromkeys([*(f"{HOME}/{name}" for name in CREDENTIALS), *below_home])
    places = [path for path in candidates if _access(policy, path) is Access.NONE]
    if not places:
        return _not_applicable("the policy denies no place of credentials")
    return {"places": _outermost(places)[:MAX_PLACES]}


def _outermost(paths: Iterable[str]) -> list[str]:
    """Without those below another one: the decoy in the outer directory speaks for them."""
    kept: list[str] = []
    for path in sorted(paths):
        if not any(path.startswith(outer + "/") for outer in kept):
            kept.append(path)
    return kept


def _startup(policy: ResolvedPolicy) -> Params:
    paths = [f"{HOME}/{name}" for name in STARTUP]
    denied = [path for path in paths if _access(policy, path) is not Access.WRITE]
    return {"paths": denied} if denied else _not_applicable("the policy lets workloads write all of them")


def _private_tmp(policy: ResolvedPolicy) -> Params:
    return _not_applicable("the policy shares the host's /tmp") if policy.filesystem.tmp is Tmp.HOST else {}


def _egress(policy: ResolvedPolicy) -> Params:
    shared = policy.network.mode is NetworkMode.HOST
    return _not_applicable("the policy shares the host's network") if shared else {}


def _host_sockets(policy: ResolvedPolicy) -> Params:
    return {"abstract": policy.network.mode is not NetworkMode.HOST}


def _user_namespaces(policy: ResolvedPolicy) -> Params:
    nested = policy.process.nested_sandboxes
    return _not_applicable("the policy lets workloads make sandboxes of their own") if nested else {}


def _host_processes(policy: ResolvedPolicy) -> Params:
    accepted = policy.process.allow_host_pids
    return _not_applicable("the policy accepts that host processes are seen") if accepted else {}


def _gpu(policy: ResolvedPolicy) -> Params:
    """What a host derives its GPUs from: a selection of indices, UUIDs and addresses means others on each."""
    gpu = policy.devices.gpu
    none = gpu.mode is GpuMode.NONE
    return {
        "gpu": str(gpu.mode),
        "vendors": [] if none else [str(vendor) for vendor in gpu.vendors],
        "select": gpu.select if gpu.select == "all" else list(gpu.select),
        "profile": str(gpu.profile),
        "allowed": list(policy.devices.allow),
    }


def _gpu_library(policy: ResolvedPolicy) -> Params:
    return {**_gpu(policy), "sockets": policy.process.unix_sockets is not UnixSockets.NONE}


def _gpu_process(policy: ResolvedPolicy) -> Params:
    """With the parameters of the checks that are made once more by the process that uses a GPU."""
    planned = {check: _PARAMS[check](policy) for check in _BESIDE_A_GPU}
    parts = {check: params for check, params in planned.items() if "not_applicable" not in params}
    return {**_gpu(policy), "parts": parts}


def _environment(policy: ResolvedPolicy) -> Params:
    # A variable that the policy sets itself arrives with another value than the one that was passed.
    return {"pass": [name for name in policy.environment.pass_ if name not in policy.environment.set]}


def _host_mounts(policy: ResolvedPolicy) -> Params:
    return {"host_mounts": True} if policy.filesystem.allow_host_mounts else {}


def _in_force(policy: ResolvedPolicy) -> Params:
    return {"digest": policy.digest}


_BESIDE_A_GPU = ("FBX-NET-001", "FBX-NET-004", "FBX-FS-001", "FBX-FS-005")
_WITHOUT_A_SANDBOX = ("FBX-SBX-001", "FBX-SBX-002", "FBX-POL-001")
_PARAMS: dict[str, Callable[[ResolvedPolicy], Params]] = {
    "FBX-SBX-001": _host_mounts,
    "FBX-FS-001": _outside_workspace,
    "FBX-FS-002": _workspace,
    "FBX-FS-003": _git,
    "FBX-FS-004": _settings,
    "FBX-FS-005": _credentials,
    "FBX-FS-006": _startup,
    "FBX-FS-008": _private_tmp,
    "FBX-NET-001": _egress,
    "FBX-NET-004": _host_sockets,
    "FBX-NS-001": _user_namespaces,
    "FBX-NS-002": _host_mounts,
    "FBX-NS-003": _host_processes,
    "FBX-GPU-001": _gpu,
    "FBX-GPU-002": _gpu_library,
    "FBX-GPU-003": _gpu,
    "FBX-GPU-004": _gpu_process,
    "FBX-GPU-005": _gpu_library,
    "FBX-ENV-001": _environment,
    "FBX-POL-001": _in_force,
}
