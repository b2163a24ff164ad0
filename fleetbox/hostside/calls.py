"""System calls that the sandbox's filter refuses, by the rule that does.

`tests/contract/test_why.py` compares them with the filter's own table, which is not on hosts.
"""

from __future__ import annotations

ALWAYS = frozenset(
    [
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "pidfd_getfd",
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "add_key",
        "request_key",
        "keyctl",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "memfd_secret",
        "open_by_handle_at",
        "syslog",
        "kexec_load",
        "kexec_file_load",
        "init_module",
        "finit_module",
        "delete_module",
        "reboot",
        "swapon",
        "swapoff",
        "acct",
        "quotactl",
        "quotactl_fd",
        "settimeofday",
        "clock_settime",
        "iopl",
        "ioperm",
    ]
)
UNLESS_NESTED = frozenset(
    [
        "mount",
        "umount2",
        "pivot_root",
        "open_tree",
        "move_mount",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
        "mount_setattr",
        "open_tree_attr",
        "unshare",
        "setns",
    ]
)
# Refused for some of their arguments only.
BY_ARGUMENT = frozenset(
    [
        "clone",
        "clone3",
        "ioctl",
        "socket",
        "socketpair",
        "memfd_create",
        "open",
        "openat",
        "openat2",
        "chmod",
        "fchmod",
        "creat",
        "mknod",
        "fchmodat",
        "fchmodat2",
        "mknodat",
    ]
)
REFUSED = tuple(sorted(ALWAYS | UNLESS_NESTED | BY_ARGUMENT))
