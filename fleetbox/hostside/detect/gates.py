"""The gates: every reason why a host cannot sandbox, each with what to do about it.

The words live here once: the launcher's `gate_texts.h` and the table of docs/debugging.md are generated from
`GATES`. Which gate it is follows from the functional probe (`userns`) and, only to explain a failure, from
the settings of the host (`evidence`): a setting is never taken for a gate by itself.
"""

from __future__ import annotations

from typing import NamedTuple, TypedDict

from fleetbox.hostside import paths

APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"
CLONE = "kernel.unprivileged_userns_clone"
# Limits of one user namespace each (namespaces(7)); those of `user` and `net` have gates of their own.
KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
ENOUGH_NAMESPACES = 15000

_UNCONFINED = " ".join(f"--security-opt {what}=unconfined" for what in ("seccomp", "apparmor", "systempaths"))


def maximum(kind: str) -> str:
    """The setting that limits how many namespaces of a kind there may be."""
    return f"user.max_{kind}_namespaces"


def sysctl_file(key: str) -> str:
    """Where role userns writes a setting, and where a remedy says to write it."""
    return f"/etc/sysctl.d/60-fleetbox-{key.split('.', 1)[1].replace('_', '-')}.conf"


def _set(key: str, value: int) -> str:
    return f"as root: echo {key}={value} > {sysctl_file(key)} && sysctl --load {sysctl_file(key)}"


class Gate(TypedDict):
    """One gate found shut. `symptom`: what was seen here; `fixable_by_role`: site.yml opens it."""

    id: str
    symptom: str
    problem: str
    remedy: str
    fixable_by_role: bool


class Words(NamedTuple):
    """`shows`: what bubblewrap or the kernel typically says. `role`: whether role userns may open it."""

    shows: str
    problem: str
    remedy: str
    role: bool = False


# In the order of docs/debugging.md. One line each, ASCII: the launcher prints them as they are.
GATES = {
    "wsl1": Words(
        "`/proc/version` names WSL1",
        "this is WSL1, which has no user namespaces; sandboxes need WSL2",
        "in PowerShell on Windows: wsl --set-version <distro> 2",
    ),
    "no_userns_kernel": Words(
        "`/proc/self/ns/user` is missing",
        "this kernel is built without user namespaces",
        "boot a kernel with CONFIG_USER_NS=y",
    ),
    "userns_clone_sysctl": Words(
        "`No permissions to create new namespace` (EPERM)",
        f"user namespaces are closed to users: {CLONE} is 0",
        _set(CLONE, 1),
        role=True,
    ),
    "userns_max_zero": Words(
        "`Creating new namespace failed … (ENOSPC)`",
        f"user namespaces are switched off: {maximum('user')} is 0",
        _set(maximum("user"), ENOUGH_NAMESPACES),
        role=True,
    ),
    "userns_exhausted": Words(
        "`Creating new namespace failed … (ENOSPC)`",
        f"no further user namespace may be made: {maximum('user')} is used up, here or in a namespace around",
        f"raise {maximum('user')} where it is used up, end what holds them (lsns), or nest less deeply",
    ),
    "netns_max_zero": Words(
        "`Creating new namespace failed … (ENOSPC)`, not without `--unshare-net`",
        f"network namespaces are switched off: {maximum('net')} is 0",
        _set(maximum("net"), ENOUGH_NAMESPACES),
        role=True,
    ),
    "ns_max_zero": Words(
        "`Creating new namespace failed … (ENOSPC)`",
        "a kind of namespace is switched off: its user.max_*_namespaces is 0",
        f"as root: set each user.max_*_namespaces that is 0 to {ENOUGH_NAMESPACES} in /etc/sysctl.d",
        role=True,
    ),
    "userns_apparmor": Words(
        "`setting up uid map: Permission denied`, or `loopback: Failed RTM_NEWADDR`",
        f"AppArmor keeps user namespaces from programs without a profile: {APPARMOR} is 1",
        f"role fleetbox.sandbox.userns: a root-owned {paths.BWRAP} with an AppArmor profile of its own;"
        f" only as a last resort {APPARMOR}=0, which lifts the restriction for every program",
        role=True,
    ),
    "apparmor_profile": Words(
        "EPERM, and `aa-status` lists a profile for bwrap in enforce mode",
        "an AppArmor profile confines bwrap and refuses what a sandbox needs",
        f"roles fleetbox.sandbox.bubblewrap and userns: {paths.BWRAP}, with a profile of its own where that"
        " one confines it too; or allow userns, mount, pivot_root and capability sys_admin in that profile",
        role=True,
    ),
    "userns_rhel7": Words(
        "EINVAL or EPERM on RHEL 7",
        "user namespaces are switched off at boot: the parameter user_namespace.enable is N",
        'as root: grubby --update-kernel=ALL --args="user_namespace.enable=1", reboot, and set'
        f" {maximum('user')}={ENOUGH_NAMESPACES} in /etc/sysctl.d",
    ),
    "nested_sandbox": Words(
        "EPERM or ENOSPC inside Codex, srt, bubblewrap or fleetbox",
        "this already runs inside a sandbox, which forbids sandboxes of its own",
        "start it outside; where fleetbox made that sandbox: process.nested_sandboxes: true in its policy",
    ),
    "chroot": Words(
        "EPERM, and `/proc/self/mountinfo` has no mount at `/`",
        "this runs in a chroot, where the kernel makes no user namespaces",
        "enter the tree with pivot_root instead, as systemd-nspawn, bwrap and container engines do",
    ),
    "userns_selinux": Words(
        "EPERM or EACCES, and `id -Z` is not unconfined",
        "SELinux confines this user and refuses user namespaces",
        "ausearch -m avc -ts recent names the denial; allow user_namespace create in a policy module, or map"
        " the account with semanage login -m -s unconfined_u",
    ),
    "bwrap_setuid": Words(
        "`setuid use of bubblewrap is not supported`",
        "bwrap is setuid, which its version refuses to be",
        "as root: chmod u-s the file; role fleetbox.sandbox.bubblewrap brings a copy without it",
        role=True,
    ),
    "bwrap_no_new_privs": Words(
        "`No permissions to create new namespace` by a setuid bwrap",
        "bwrap is setuid, and no_new_privs takes that from it",
        "start it without no_new_privs (systemd: NoNewPrivileges=no), or let users make user namespaces",
    ),
    "container": Words(
        "`No permissions to create new namespace` (EPERM) in Docker, Podman, Kubernetes or LXC",
        "the container around this host refuses namespaces",
        f"start it with {_UNCONFINED}, or with a seccomp profile that allows clone, unshare, mount, umount2,"
        " setns and pivot_root",
    ),
    "userns_errno": Words(
        "EPERM, EINVAL or another errno without any of the above",
        "the kernel or a seccomp filter refuses to make namespaces",
        "look for the filter around this process (Seccomp in /proc/self/status; systemd: RestrictNamespaces=,"
        " SystemCallFilter=) and allow clone, unshare, mount, umount2 and pivot_root",
    ),
    "gvisor": Words(
        "`loopback: Failed RTM_NEWADDR` under gVisor",
        "gVisor, the kernel here, does not set up network namespaces for sandboxes",
        "run the container with another runtime than runsc, or use a policy with network.mode: host",
    ),
    "no_netns": Words(
        "`loopback: Failed RTM_NEWADDR`, not without `--unshare-net`",
        "the kernel or a filter refuses a network namespace",
        "allow clone and unshare with CLONE_NEWNET and netlink sockets around this host; without them only"
        " policies with network.mode: host can run",
    ),
    "proc_masked": Words(
        "`Can't mount proc on /newroot/proc: Operation not permitted`",
        "no fresh /proc can be mounted, because parts of this one are masked",
        "in a container: --security-opt systempaths=unconfined; or process.allow_host_pids: true in the"
        " policy, which shows the host's processes to workloads",
    ),
    "mount_stuck": Words(
        "bwrap does not end",
        "bwrap does not end: most likely a file system does not answer, and a sandbox touches every mount",
        "findmnt -t autofs,nfs,nfs4,cifs,ceph,9p,fuse lists the usual ones: repair the one that hangs, or"
        " umount --lazy it",
    ),
    "root_refused": Words(
        "bwrap names a path below `/newroot`",
        "a mount of this host cannot be bound read-only into a sandbox",
        "unmount what bwrap names, or use a policy with filesystem.root: minimal that leaves it out",
    ),
    "python_missing": Words(
        "`/usr/bin/python3` is absent or older than 3.9",
        "the host has no Python that runs the host program",
        "apt-get install python3, on a release that has 3.9 or newer",
    ),
}

# No gates: sandboxes work, at a price that should be known.
COSTS = {
    "inner_no_caps": Words(
        "`unshare --mount` inside `bwrap --cap-add CAP_SYS_ADMIN` is refused, whatever CapEff says",
        "bwrap leaves its child no capabilities: it is setuid, or has Ubuntu's profile bwrap-userns-restrict."
        " Rules are then mounted by bwrap, by path, and verified after: slower with many rules",
        f"roles fleetbox.sandbox.bubblewrap and userns: {paths.BWRAP}, not setuid, with a profile of its own",
        role=True,
    ),
}


def gate(name: str, symptom: str) -> Gate:
    """The gate or cost of this id, as seen here."""
    words = GATES.get(name) or COSTS[name]
    return Gate(
        id=name,
        symptom=symptom,
        problem=words.problem,
        remedy=words.remedy,
        fixable_by_role=words.role,
    )
