"""What every sandbox has whatever its policy says, and how far: what no field decides in docs/parity.md."""

from dataclasses import dataclass

from fleetbox.targets.parity import Evidence, State


@dataclass(frozen=True)
class Property(Evidence):
    """Something that every sandbox has, whatever its policy says."""

    words: str
    linux: State
    note: str
    macos: State = State.NOT_BUILT


_ENFORCED, _PARTIAL, _, _ = State
_LAUNCHER = "tests/integration/launcher"

PROPERTIES: tuple[Property, ...] = (
    Property(
        "bubblewrap that is used",
        _ENFORCED,
        "the provisioned one, else the first on PATH outside of the working directory and of every writable "
        "root; root's before the user's own, which only fleetbox run takes at all",
        shown=(f"{_LAUNCHER}/test_bwrap.py", f"{_LAUNCHER}/test_bwrap_fakes.py", "escape:plant-a-bwrap"),
    ),
    Property(
        "bubblewrap of any age",
        _ENFORCED,
        "from 0.4.1 on, by what its --help says; what one lacks is got another way, or refused with the "
        "version that has it",
        shown=(f"{_LAUNCHER}/test_bwrap_ages.py",),
    ),
    Property(
        "bubblewrap that is missing or fails",
        _ENFORCED,
        "gives way to the other one with a warning; with neither nothing runs",
        shown=(f"{_LAUNCHER}/test_bwrap_fakes.py", f"{_LAUNCHER}/test_on_hosts.py"),
    ),
    Property(
        "hosts that cannot sandbox",
        _PARTIAL,
        "refused before the workload runs, with the gate and its remedy; a mount that does not answer holds "
        "a launch up instead, and where autofs is mounted no gate names it",
        shown=(
            f"{_LAUNCHER}/test_gates.py",
            "tests/integration/hostside/test_gates.py",
            "tests/integration/roles/test_userns.py",
        ),
        limit=("tests/integration/hostside/test_gates.py::test_nothing_is_mounted_on_demand_by_being_asked",),
    ),
    Property(
        "WSL",
        _ENFORCED,
        "WSL1 is refused before anything else; WSL2 is a Linux like any other, with Windows out of reach",
        shown=(f"{_LAUNCHER}/test_on_odd_hosts.py", "tests/unit/hostside/test_detect.py", "escape:wsl"),
    ),
    Property(
        "which rule decides",
        _ENFORCED,
        "the longest path; at one path none before read before write; to any depth, for thousands of rules",
        shown=(
            f"{_LAUNCHER}/test_paths_rules.py",
            f"{_LAUNCHER}/test_mounts_equal.py",
            "tests/unit/policy/test_explain.py",
        ),
    ),
    Property(
        "symlinks and missing names on the way to a rule",
        _ENFORCED,
        "a link that a workload may have planted is a refusal, a missing protected name cannot be made",
        shown=(
            f"{_LAUNCHER}/test_paths_links.py",
            "tests/faults/test_planted.py",
            "tests/faults/test_flip.py",
            "escape:launcher",
        ),
    ),
    Property(
        "namespaces and privileges",
        _ENFORCED,
        "own namespaces for users, mounts, PIDs, IPC, host name and, where the kernel has them, cgroups; no "
        "new privileges, every capability given up",
        shown=(
            "FBX-NS-001",
            "FBX-NS-002",
            "FBX-NS-003",
            "escape:namespaces",
            "escape:privileges",
            "escape:root",
        ),
    ),
    Property(
        "/proc",
        _ENFORCED,
        "a fresh one; where none can be mounted a refusal, unless process.allow_host_pids accepts the host's",
        shown=("FBX-NS-003", f"{_LAUNCHER}/test_on_managed_host.py", f"{_LAUNCHER}/test_on_odd_hosts.py"),
    ),
    Property(
        "system calls",
        _ENFORCED,
        "a seccomp filter for x86_64 and aarch64, with and without AF_UNIX (docs/seccomp.md)",
        shown=(
            "FBX-SYS-001",
            f"{_LAUNCHER}/test_kernel_seccomp.py",
            f"{_LAUNCHER}/test_on_aarch64.py",
            "tests/unit/targets/test_seccomp.py",
            "escape:kernel",
        ),
    ),
    Property(
        "set-user-id programs in the workspace",
        _PARTIAL,
        "none can be made, unless sandboxes may nest; set-group-id ones can, as directories that a group "
        "shares have that bit",
        shown=(
            f"{_LAUNCHER}/test_kernel_seccomp.py::test_nothing_becomes_set_user_id_and_other_modes_are_free",
            "escape:attributes",
        ),
        limit=("escape:nested-leave-a-set-user-id-program", "escape:leave-a-set-group-id-program"),
    ),
    Property(
        "core dumps",
        _PARTIAL,
        "are written only where the workload may write; where kernel.core_pattern names a program of the "
        "host, the kernel starts it outside of the sandbox",
        shown=("escape:dump-a-core-outside",),
        limit=("escape:crash-into-the-hosts-handler",),
    ),
    Property(
        "what the caller has open, and its environment",
        _PARTIAL,
        "only descriptors 0 to 2 and the named variables come in; a file redirected to one of the three can "
        "be read whatever the rules say of its path, its mode and times be changed, and without Landlock it "
        "can be opened again for writing, as a pipe always can",
        shown=("FBX-ENV-001", f"{_LAUNCHER}/test_descriptors.py", "escape:descriptors", "escape:environment"),
        limit=(
            f"{_LAUNCHER}/test_kernel_landlock.py::test_what_was_open_before_goes_on_working",
            "escape:change-attributes-of-stdin",
            "escape:order-through-the-pipe-of-stdin",
        ),
    ),
    Property(
        "the caller's terminal",
        _PARTIAL,
        "nothing can be typed into it; a workload can stop what was started together with it as Ctrl-Z "
        "would, and end it as Ctrl-C would when it dies of that signal",
        shown=(f"{_LAUNCHER}/test_terminal.py", f"{_LAUNCHER}/test_kernel_jobs.py", "escape:terminals"),
        limit=(
            f"{_LAUNCHER}/test_kernel_jobs.py::test_a_program_that_stops_its_group_stops_the_whole_job",
            f"{_LAUNCHER}/test_kernel_jobs.py::test_ctrl_c_ends_a_script_with_its_workload",
        ),
    ),
    Property(
        "the end of a sandbox, and what it leaves",
        _ENFORCED,
        "no process outlives the launcher; mountpoints of missing names go with the last sandbox over a "
        "workspace or, after a SIGKILL, with the next",
        shown=(
            "FBX-SYS-002",
            "tests/faults/test_kill.py",
            "tests/faults/test_cleanup.py",
            "escape:processes",
        ),
    ),
    Property(
        "Landlock alone, where bubblewrap cannot work",
        _PARTIAL,
        "for policies that accept the host's mounts and mean the same there, from Linux 6.12 on; for every "
        "other one a refusal that says what would be less (docs/adr/0005)",
        shown=(f"{_LAUNCHER}/test_alone.py", f"{_LAUNCHER}/test_alone_on_hosts.py"),
        limit=(
            f"{_LAUNCHER}/test_on_odd_hosts.py"
            "::test_where_no_sandbox_can_be_made_everything_that_landlock_alone_would_leave_open_is_said",
        ),
    ),
    Property(
        "what a target cannot enforce",
        _ENFORCED,
        "refused when the policy is compiled, all of it at once",
        shown=("tests/unit/targets/test_parity.py", "tests/integration/run/test_run.py"),
    ),
    Property(
        "what would hold, without running it",
        _ENFORCED,
        "fleetbox-run --explain in words, --dry-run as a command to paste; fleetbox policy explain, render",
        shown=(
            f"{_LAUNCHER}/test_paths_shown.py::test_explain_says_what_and_why_and_runs_nothing",
            f"{_LAUNCHER}/test_paths_shown.py::test_the_dry_run_line_can_be_pasted",
            "tests/integration/run/test_run.py",
        ),
    ),
)
