"""How far each field of a policy is enforced, per platform.

Data only. A row with a value is about that value, a row without about every other one. `shown` names what
would turn red if a row stopped being true, `limit` what shows where a partial one ends: a check of the
catalogue, a test, or a family or an attempt of tests/escape. docs/parity.md is generated from here.
"""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How far something is enforced."""

    ENFORCED = "enforced"
    PARTIAL = "partial"
    IMPOSSIBLE = "impossible"
    NOT_BUILT = "not_built"


class Platform(StrEnum):
    """What a target compiles for."""

    LINUX = "linux"
    MACOS = "macos"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """`shown` and `limit` as described above."""

    shown: tuple[str, ...]
    limit: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row(Evidence):
    """One field, or one value of it. `note` is about Linux until macOS is built."""

    field: str
    linux: State
    note: str
    value: str | None = None
    macos: State = State.NOT_BUILT

    def on(self, platform: Platform) -> State:
        return self.linux if platform is Platform.LINUX else self.macos


_ENFORCED, _PARTIAL, _IMPOSSIBLE, _NOT_BUILT = State
_LAUNCHER = "tests/integration/launcher"
_GPUS = ("FBX-GPU-001", "FBX-GPU-002", f"{_LAUNCHER}/test_gpu_matrix.py")
_REFUSED = ("tests/unit/targets/test_parity.py",)

PARITY: tuple[Row, ...] = (
    Row(
        "mode",
        _ENFORCED,
        "by the mounts of the sandbox",
        "read-only",
        shown=(
            "FBX-FS-002",
            f"{_LAUNCHER}/test_paths.py::test_a_read_only_mode_leaves_only_private_tmp_writable",
        ),
    ),
    Row(
        "mode",
        _ENFORCED,
        "by the mounts of the sandbox",
        "workspace-write",
        shown=("FBX-FS-001", "FBX-FS-002"),
    ),
    Row(
        "mode",
        _ENFORCED,
        "no sandbox: nothing is enforced, and every place says so",
        "full-access",
        shown=(
            "FBX-SBX-001",
            f"{_LAUNCHER}/test_on_managed_host.py::test_full_access_says_that_there_is_no_sandbox",
        ),
    ),
    Row(
        "filesystem.root",
        _PARTIAL,
        "read-only bind of the host, or of a short list; what the host mounts later does not arrive, except "
        "where bubblewrap mounts what restricts (a setuid one, AppArmor's stock profile for it, --mounts "
        "bwrap): there it appears with its own mode",
        shown=("FBX-FS-001", f"{_LAUNCHER}/test_on_many_mounts.py", "escape:outside"),
        limit=("escape:read-a-key-under-a-late-mount",),
    ),
    Row("filesystem.workspace", _ENFORCED, "bind mount", shown=("FBX-FS-002", f"{_LAUNCHER}/test_paths.py")),
    Row(
        "filesystem.tmp",
        _ENFORCED,
        "a tmpfs, the host's directory, or a mask",
        shown=(
            "FBX-FS-008",
            f"{_LAUNCHER}/test_on_managed_host.py::test_tmp_is_the_hosts_only_where_the_policy_says_so",
        ),
    ),
    Row(
        "filesystem.rules",
        _PARTIAL,
        "bind mounts and masks; a directory that leads to a denied or read-only path cannot be renamed, and "
        "is a mount of its own: moving a file out of it copies the file; outside writable directories, one "
        "that holds something denied is shown as it was at launch; where it cannot be (bubblewrap mounts "
        "what restricts, only root changes names in it, it is the workspace, too many names), a denied file "
        "is open again once the host replaces it by a rename, and one that is made later is open from the "
        "start: fleetbox-run says either on stderr; deeper than where it begins, a pattern covers what is "
        "there at launch",
        shown=(
            "FBX-FS-005",
            "FBX-FS-006",
            f"{_LAUNCHER}/test_paths_rules.py",
            f"{_LAUNCHER}/test_paths_aliases.py",
            f"{_LAUNCHER}/test_paths_late.py",
            f"{_LAUNCHER}/test_snapshots.py",
            "escape:secrets",
            "escape:late",
        ),
        limit=(
            "FBX-FS-005",
            "escape:read-a-later-match",
            "escape:read-a-later-match-in-the-workspace",
            "escape:read-a-replaced-directory",
            "escape:read-a-replaced-file",
            "escape:read-a-file-that-came-later",
        ),
    ),
    Row(
        "filesystem.protect",
        _PARTIAL,
        "read-only mounts; a process outside the sandbox can detach one by renaming the name on the host; "
        "below the top of a writable root, submodules and repositories that a bounded search finds at launch "
        "(256 directories, four levels) are protected, not those that lie deeper or are made later",
        shown=(
            "FBX-FS-003",
            "FBX-FS-004",
            f"{_LAUNCHER}/test_paths_git.py",
            "tests/faults/test_flip.py",
            "escape:protected",
        ),
        limit=(
            "FBX-FS-003",
            "FBX-FS-004",
            f"{_LAUNCHER}/test_paths_git.py::test_a_repository_below_the_bounded_search_is_the_limit_that_parity_names",
            "tests/faults/test_flip.py::test_what_a_process_outside_any_sandbox_reaches_is_reported",
            "escape:plant-a-bare-repository",
        ),
    ),
    Row(
        "filesystem.unprotect",
        _PARTIAL,
        "hooks and settings in .git stay read-only, and .git cannot be replaced; but a workload that may "
        "write there can add a commondir file, which only the next launch refuses, or a submodule: either "
        "leads the git outside to settings of its own making",
        shown=("FBX-FS-003", f"{_LAUNCHER}/test_rename.py", f"{_LAUNCHER}/test_paths_git.py"),
        limit=(
            "FBX-FS-003",
            f"{_LAUNCHER}/test_paths_git.py"
            "::test_a_commondir_in_an_unprotected_repository_is_the_limit_that_parity_names",
        ),
    ),
    Row(
        "filesystem.allow_host_mounts",
        _ENFORCED,
        "bubblewrap's sandbox, unless it can make none; then one by Landlock (Linux 6.12) and seccomp alone "
        "where everything else that the policy says holds as well, or a refusal that says what does not",
        shown=(f"{_LAUNCHER}/test_alone.py", f"{_LAUNCHER}/test_alone_on_hosts.py"),
    ),
    Row(
        "network.mode",
        _ENFORCED,
        "an empty network namespace",
        "none",
        shown=("FBX-NET-001", "escape:network"),
    ),
    Row("network.mode", _NOT_BUILT, "the egress proxy is not built", "proxy", shown=_REFUSED),
    Row(
        "network.mode",
        _ENFORCED,
        "the host's network, unrestricted",
        "host",
        shown=(
            f"{_LAUNCHER}/test_on_managed_host.py"
            "::test_the_network_is_the_hosts_only_where_the_policy_says_so",
        ),
    ),
    Row("network.outbound", _NOT_BUILT, "the egress proxy is not built", shown=_REFUSED),
    Row(
        "process.allowed_binaries",
        _PARTIAL,
        "Landlock, refused without it: only these files are executed by the kernel. A listed interpreter "
        "runs any script, and the loader of a listed program any other when it is started as a program "
        "itself; Linux before 5.19 then refuses to move files between directories",
        shown=(f"{_LAUNCHER}/test_kernel_programs.py", "escape:limits"),
        limit=("escape:run-a-program-through-the-loader",),
    ),
    Row(
        "process.nested_sandboxes",
        _PARTIAL,
        "seccomp, and bubblewrap's --disable-userns where it has it; where it is true, the workload can move "
        "what is protected or denied below writable directories, from a namespace of its own",
        shown=("FBX-NS-001", f"{_LAUNCHER}/test_on_hosts.py", "escape:namespaces"),
        limit=("escape:nested-move-a-protected-name",),
    ),
    Row(
        "process.unix_sockets",
        _PARTIAL,
        "as none without a GPU, as private with one",
        "auto",
        shown=("FBX-NET-004", f"{_LAUNCHER}/test_on_gpu_hosts.py"),
        limit=("FBX-NET-004", "escape:connect-to-a-late-socket"),
    ),
    Row(
        "process.unix_sockets",
        _ENFORCED,
        "seccomp",
        "none",
        shown=("FBX-NET-004", "tests/unit/targets/test_seccomp_enforced.py", "escape:sockets"),
    ),
    Row(
        "process.unix_sockets",
        _PARTIAL,
        "sockets that the host has at launch are masked; outside the masked directories one can be reached "
        "that appears later, or that was moved to where it is not searched for",
        "private",
        shown=("FBX-NET-004", f"{_LAUNCHER}/test_paths_sockets.py", "escape:sockets", "escape:services"),
        limit=("FBX-NET-004", "escape:connect-to-a-late-socket"),
    ),
    Row(
        "process.allow_host_pids",
        _ENFORCED,
        "a PID namespace, unless no fresh /proc can be mounted; then host processes are seen, and with "
        "Landlock of Linux 6.12 none can be signalled, nor be ended by a limit",
        shown=(
            "FBX-NS-003",
            f"{_LAUNCHER}/test_on_odd_hosts.py",
            f"{_LAUNCHER}/test_on_managed_host.py",
            f"{_LAUNCHER}/test_kernel_seccomp.py",
        ),
    ),
    Row(
        "process.limits.memory",
        _PARTIAL,
        "a cgroup of the launch, where the user has one delegated (a systemd user session); elsewhere a "
        "limit on the data of each process, and the launcher says so",
        shown=(f"{_LAUNCHER}/test_kernel_cgroup.py", "escape:limits"),
        limit=(
            f"{_LAUNCHER}/test_kernel_limits.py"
            "::test_a_process_gets_no_more_memory_than_the_policy_says_and_the_weaker_way_is_said",
        ),
    ),
    Row(
        "process.limits.pids",
        _PARTIAL,
        "a cgroup of the launch, where the user has one delegated; elsewhere a limit of the user in the "
        "sandbox, with which Linux before 5.14 counts the user's other processes as well",
        shown=(
            f"{_LAUNCHER}/test_kernel_cgroup.py",
            f"{_LAUNCHER}/test_kernel_limits.py",
            "escape:limits",
        ),
        limit=(f"{_LAUNCHER}/test_kernel_cgroup.py::test_without_a_delegated_cgroup_the_weaker_way_is_said",),
    ),
    Row(
        "process.limits.wall",
        _ENFORCED,
        "the inner stage's clock: SIGTERM, and SIGKILL 5 seconds later",
        shown=(f"{_LAUNCHER}/test_kernel_limits.py",),
    ),
    Row(
        "devices.gpu.mode",
        _ENFORCED,
        "device nodes bound at launch, or refused",
        shown=("FBX-GPU-001", "FBX-GPU-003", f"{_LAUNCHER}/test_on_gpu_hosts.py"),
    ),
    Row(
        "devices.gpu.vendors",
        _ENFORCED,
        "the nodes of CUDA",
        "nvidia",
        shown=("FBX-GPU-001", "FBX-GPU-002", f"{_LAUNCHER}/test_on_gpu_hosts.py"),
    ),
    Row(
        "devices.gpu.vendors",
        _ENFORCED,
        "/dev/dxg and its libraries",
        "wsl",
        shown=("FBX-GPU-001", "FBX-GPU-002", f"{_LAUNCHER}/test_on_odd_hosts.py"),
    ),
    Row("devices.gpu.vendors", _ENFORCED, "kfd and render nodes", "amd", shown=_GPUS),
    Row("devices.gpu.vendors", _ENFORCED, "render nodes", "intel", shown=_GPUS),
    Row("devices.gpu.vendors", _ENFORCED, "the nodes of a Tegra, only where named", "jetson", shown=_GPUS),
    Row("devices.gpu.vendors", _ENFORCED, "what trusted CDI specifications say", "cdi", shown=_GPUS),
    Row("devices.gpu.vendors", _IMPOSSIBLE, "no Apple GPU on Linux", "apple", shown=_REFUSED),
    Row(
        "devices.gpu.select",
        _ENFORCED,
        "every GPU found",
        "all",
        shown=(f"{_LAUNCHER}/test_on_gpu_hosts.py::test_all_eight_gpus_are_there",),
    ),
    Row("devices.gpu.select", _ENFORCED, "the nodes of the chosen alone, or refused", shown=_GPUS),
    Row(
        "devices.gpu.exclusive",
        _PARTIAL,
        "a lock per GPU that every sandbox takes; programs outside of sandboxes, and checks, take none",
        shown=(f"{_LAUNCHER}/test_gpu_exclusive.py",),
        limit=(
            f"{_LAUNCHER}/test_gpu_exclusive.py::test_what_runs_outside_of_sandboxes_takes_no_lock",
            f"{_LAUNCHER}/test_share_gpu.py::test_a_check_starts_whoever_has_the_gpu",
        ),
    ),
    Row(
        "devices.gpu.profile",
        _ENFORCED,
        "the nodes that compute needs",
        "compute",
        shown=("FBX-GPU-001", "FBX-GPU-002", f"{_LAUNCHER}/test_on_gpu_hosts.py"),
    ),
    Row("devices.gpu.profile", _ENFORCED, "also render nodes and modeset, no cards", "graphics", shown=_GPUS),
    Row(
        "devices.allow",
        _ENFORCED,
        "device bind of each node",
        shown=(
            f"{_LAUNCHER}/test_on_gpu_hosts.py::test_a_device_that_the_policy_names_works_wherever_it_lies",
            "escape:devices",
        ),
    ),
    Row(
        "environment.pass",
        _ENFORCED,
        "the launcher builds the environment",
        shown=("FBX-ENV-001", f"{_LAUNCHER}/test_exit.py", "escape:environment"),
    ),
    Row(
        "environment.set",
        _ENFORCED,
        "the launcher builds the environment",
        shown=(f"{_LAUNCHER}/test_exit.py::test_the_environment_is_the_allow_list",),
    ),
    Row(
        "landlock",
        _ENFORCED,
        "bubblewrap alone",
        "off",
        shown=(f"{_LAUNCHER}/test_kernel_landlock.py",),
    ),
    Row(
        "landlock",
        _ENFORCED,
        "a second layer where the kernel has it: writes from Linux 5.19, unless sandboxes may nest; abstract "
        "sockets and signals from 6.12",
        "best-effort",
        shown=(f"{_LAUNCHER}/test_kernel_landlock.py",),
    ),
    Row(
        "landlock",
        _ENFORCED,
        "refused where the kernel has no Landlock (before 5.13, or left out of lsm=); --explain says what an "
        "older one lacks",
        "required",
        shown=(
            f"{_LAUNCHER}/test_kernel_landlock.py",
            f"{_LAUNCHER}/test_kernel_cgroup.py"
            "::test_a_kernel_that_has_no_landlock_is_refused_where_it_is_required",
        ),
    ),
)
