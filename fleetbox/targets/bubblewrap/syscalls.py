"""System calls that the filter names: their numbers on each architecture, and why they are refused.

Only what the filter looks at is listed. Numbers come from the kernel's tables (arch/x86/entry/syscalls/
syscall_64.tbl, scripts/syscall.tbl); `test_syscalls.py` compares them with the compiler's headers.
None means that the architecture has no such call.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class Arch(StrEnum):
    """As `uname -m` says it."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"


class Numbers(NamedTuple):
    """One call's number on each architecture."""

    x86_64: int | None
    aarch64: int | None

    def on(self, arch: Arch) -> int | None:
        return self.x86_64 if arch is Arch.X86_64 else self.aarch64


class Group(NamedTuple):
    """Calls refused for one reason."""

    reason: str
    calls: Mapping[str, Numbers]


ALWAYS: tuple[Group, ...] = (
    Group(
        "reaches into another process, the inner stage for one; gdb and strace do not work",
        {
            "ptrace": Numbers(101, 117),
            "process_vm_readv": Numbers(310, 270),
            "process_vm_writev": Numbers(311, 271),
            "pidfd_getfd": Numbers(438, 438),
        },
    ),
    Group(
        "performs operations that no seccomp filter sees; libuv and others fall back to epoll",
        {
            "io_uring_setup": Numbers(425, 425),
            "io_uring_enter": Numbers(426, 426),
            "io_uring_register": Numbers(427, 427),
        },
    ),
    Group(
        "keyrings belong to no namespace: the session's keys, Kerberos tickets included, would be readable",
        {
            "add_key": Numbers(248, 217),
            "request_key": Numbers(249, 218),
            "keyctl": Numbers(250, 219),
        },
    ),
    Group(
        "a large kernel surface with a record of privilege escalations; only tracers and hypervisors use it",
        {
            "bpf": Numbers(321, 280),
            "perf_event_open": Numbers(298, 241),
            "userfaultfd": Numbers(323, 282),
        },
    ),
    Group(
        "memory that nobody else can look into, the administrator neither; it also blocks hibernation",
        {"memfd_secret": Numbers(447, 447)},
    ),
    Group(
        "opens files by inode, past every mask",
        {"open_by_handle_at": Numbers(304, 265)},
    ),
    Group(
        "reads the kernel's log, which tells of the whole host",
        {"syslog": Numbers(103, 116)},
    ),
    # All of these need capabilities that a workload never has: nothing breaks, and a kernel that forgets
    # to ask for the capability is covered.
    Group(
        "administers the machine",
        {
            "kexec_load": Numbers(246, 104),
            "kexec_file_load": Numbers(320, 294),
            "init_module": Numbers(175, 105),
            "finit_module": Numbers(313, 273),
            "delete_module": Numbers(176, 106),
            "reboot": Numbers(169, 142),
            "swapon": Numbers(167, 224),
            "swapoff": Numbers(168, 225),
            "acct": Numbers(163, 89),
            "quotactl": Numbers(179, 60),
            "quotactl_fd": Numbers(443, 443),
            "settimeofday": Numbers(164, 170),
            "clock_settime": Numbers(227, 112),
            "iopl": Numbers(172, None),
            "ioperm": Numbers(173, None),
        },
    ),
)

UNLESS_NESTED: tuple[Group, ...] = (
    Group(
        "mounts: with a user namespace of its own a workload could take masks away",
        {
            "mount": Numbers(165, 40),
            "umount2": Numbers(166, 39),
            "pivot_root": Numbers(155, 41),
            "open_tree": Numbers(428, 428),
            "move_mount": Numbers(429, 429),
            "fsopen": Numbers(430, 430),
            "fsconfig": Numbers(431, 431),
            "fsmount": Numbers(432, 432),
            "fspick": Numbers(433, 433),
            "mount_setattr": Numbers(442, 442),
            "open_tree_attr": Numbers(467, 467),
        },
    ),
    Group(
        "new namespaces give capabilities, and with them most of the kernel's attack surface",
        {
            "unshare": Numbers(272, 97),
            "setns": Numbers(308, 268),
        },
    ),
)

# The first argument names a process, 0 being the caller: another would be one of the host's, the launcher.
OF_A_PROCESS: Mapping[str, Numbers] = {
    "prlimit64": Numbers(302, 261),
    "sched_setparam": Numbers(142, 118),
    "sched_setscheduler": Numbers(144, 119),
    "sched_setaffinity": Numbers(203, 122),
    "sched_setattr": Numbers(314, 274),
    "migrate_pages": Numbers(256, 238),
}
# The first argument says what kind of thing the second names.
# Which argument asks what may be done with a file: Landlock is not asked, and a read-only mount would say no.
ACCESS: Mapping[int, Mapping[str, Numbers]] = {
    1: {"access": Numbers(21, None)},
    2: {"faccessat": Numbers(269, 48), "faccessat2": Numbers(439, 439)},
}
SETPRIORITY = Numbers(141, 140)
IOPRIO_SET = Numbers(251, 30)

# Decided by their arguments.
CLONE = Numbers(56, 220)
CLONE3 = Numbers(435, 435)
IOCTL = Numbers(16, 29)
SOCKET = Numbers(41, 198)
SOCKETPAIR = Numbers(53, 199)
MEMFD_CREATE = Numbers(319, 279)
OPEN = Numbers(2, None)
OPENAT = Numbers(257, 56)
OPENAT2 = Numbers(437, 437)
# Calls that set a mode, by the argument in which it is.
SET_MODE: Mapping[int, Mapping[str, Numbers]] = {
    1: {
        "chmod": Numbers(90, None),
        "fchmod": Numbers(91, 52),
        "creat": Numbers(85, None),
        "mknod": Numbers(133, None),
    },
    2: {
        "fchmodat": Numbers(268, 53),
        "fchmodat2": Numbers(452, 452),
        "mknodat": Numbers(259, 33),
    },
}
BY_ARGUMENT: Mapping[str, Numbers] = {
    "clone": CLONE,
    "clone3": CLONE3,
    "ioctl": IOCTL,
    "socket": SOCKET,
    "socketpair": SOCKETPAIR,
    "memfd_create": MEMFD_CREATE,
    "open": OPEN,
    "openat": OPENAT,
    "openat2": OPENAT2,
    **SET_MODE[1],
    **SET_MODE[2],
    "setpriority": SETPRIORITY,
    "ioprio_set": IOPRIO_SET,
    **OF_A_PROCESS,
    **ACCESS[1],
    **ACCESS[2],
}

# Refused where Landlock stands in for the mounts (docs/adr/0005), on top of the rest: it looks at neither
# modes nor attributes, and without namespaces the host's objects are in reach.
CHANGING = Group(
    "change modes, owners, times and attributes, also through a descriptor that only reads: a read-only "
    "mount would refuse them",
    {
        "chmod": Numbers(90, None),
        "fchmod": Numbers(91, 52),
        "fchmodat": Numbers(268, 53),
        "fchmodat2": Numbers(452, 452),
        "chown": Numbers(92, None),
        "fchown": Numbers(93, 55),
        "lchown": Numbers(94, None),
        "fchownat": Numbers(260, 54),
        "utime": Numbers(132, None),
        "utimes": Numbers(235, None),
        "futimesat": Numbers(261, None),
        "utimensat": Numbers(280, 88),
        "setxattr": Numbers(188, 5),
        "lsetxattr": Numbers(189, 6),
        "fsetxattr": Numbers(190, 7),
        "removexattr": Numbers(197, 14),
        "lremovexattr": Numbers(198, 15),
        "fremovexattr": Numbers(199, 16),
        "setxattrat": Numbers(463, 463),
        "removexattrat": Numbers(466, 466),
        "file_setattr": Numbers(469, 469),
    },
)
ATTRIBUTES = Group(
    "read extended attributes by path, of what may not be read as well",
    {
        "getxattr": Numbers(191, 8),
        "lgetxattr": Numbers(192, 9),
        "listxattr": Numbers(194, 11),
        "llistxattr": Numbers(195, 12),
        "getxattrat": Numbers(464, 464),
        "listxattrat": Numbers(465, 465),
    },
)
SHARED: tuple[Group, ...] = (
    Group(
        "System V objects and message queues are the host's without a namespace for them",
        {
            "shmget": Numbers(29, 194),
            "shmat": Numbers(30, 196),
            "shmctl": Numbers(31, 195),
            "shmdt": Numbers(67, 197),
            "semget": Numbers(64, 190),
            "semop": Numbers(65, 193),
            "semctl": Numbers(66, 191),
            "semtimedop": Numbers(220, 192),
            "msgget": Numbers(68, 186),
            "msgsnd": Numbers(69, 189),
            "msgrcv": Numbers(70, 188),
            "msgctl": Numbers(71, 187),
            "mq_open": Numbers(240, 180),
            "mq_unlink": Numbers(241, 181),
            "mq_timedsend": Numbers(242, 182),
            "mq_timedreceive": Numbers(243, 183),
            "mq_notify": Numbers(244, 184),
            "mq_getsetattr": Numbers(245, 185),
        },
    ),
    Group(
        "tell the names in directories that cannot be listed",
        {
            "inotify_init": Numbers(253, None),
            "inotify_init1": Numbers(294, 26),
            "inotify_add_watch": Numbers(254, 27),
            "fanotify_init": Numbers(300, 262),
            "fanotify_mark": Numbers(301, 263),
        },
    ),
)
# What looks as if it belonged above and is left alone on purpose: the filter says nothing about it.
LEFT_ALONE: tuple[Group, ...] = (
    Group(
        "a workload may bind itself further",
        {
            "landlock_create_ruleset": Numbers(444, 444),
            "landlock_add_rule": Numbers(445, 445),
            "landlock_restrict_self": Numbers(446, 446),
            "seccomp": Numbers(317, 277),
        },
    ),
    Group(
        "only about itself, or about processes that it can see and signal anyway",
        {
            "process_madvise": Numbers(440, 440),
            "process_mrelease": Numbers(448, 448),
            "pidfd_open": Numbers(434, 434),
            "pidfd_send_signal": Numbers(424, 424),
            "kcmp": Numbers(312, 272),
            "lsm_get_self_attr": Numbers(459, 459),
            "lsm_set_self_attr": Numbers(460, 460),
            "lsm_list_modules": Numbers(461, 461),
        },
    ),
    Group(
        "only reads, of its own mount namespace what /proc/self/mountinfo says as well",
        {
            "statmount": Numbers(457, 457),
            "listmount": Numbers(458, 458),
            "name_to_handle_at": Numbers(303, 264),
        },
    ),
    Group(
        "memory as programs with large heaps, several nodes or 16-bit code arrange it",
        {
            "move_pages": Numbers(279, 239),
            "set_mempolicy": Numbers(238, 237),
            "personality": Numbers(135, 92),
            "modify_ldt": Numbers(154, None),
        },
    ),
    Group(
        "needs a capability that a workload never has, or no more than the files themselves give",
        {"chroot": Numbers(161, 51), "fanotify_init": Numbers(300, 262)},
    ),
)
