"""What the filters decide, by an interpreter of their bytes: both architectures on any machine."""

import itertools
from pathlib import Path

import pytest

from fleetbox.targets.bubblewrap import reference, syscalls
from fleetbox.targets.bubblewrap.seccomp import Filter, Variant, filters
from fleetbox.targets.bubblewrap.syscalls import Arch
from tests.unit.targets.bpf_machine import ALLOW, ENOSYS, EPERM, KILL, Call, decide

ENOTTY, EROFS, EOPNOTSUPP = 25, 30, 95
GOLDEN = Path(__file__).parents[2] / "golden" / "seccomp"
EVERY = [
    Filter(*choice)
    for choice in itertools.product(Arch, Variant, (False, True))
    if choice[1:] != (Variant.ALONE, True)
]
ALONE = [filter_ for filter_ in EVERY if filter_.variant is Variant.ALONE]
STRICT = [filter_ for filter_ in EVERY if not filter_.nested]
AUDIT_ARCH = {Arch.X86_64: 0xC000003E, Arch.AARCH64: 0xC00000B7}
I386, ARM = 0x40000003, 0x40000028

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK = 1, 2, 10, 16, 17, 38, 40
STREAM, DGRAM, RAW, SEQPACKET, SOCK_PACKET = 1, 2, 3, 5, 10
CLOEXEC, NONBLOCK = 0o2000000, 0o4000
HIGH = 1 << 32

# Numbers from the kernel's tables: what programs cannot live without.
NEEDED = {
    Arch.X86_64: {"read": 0, "write": 1, "mmap": 9, "fork": 57, "vfork": 58, "execve": 59, "openat": 257,
                  "exit_group": 231, "prctl": 157, "seccomp": 317, "landlock_create_ruleset": 444,
                  "uretprobe": 335, "memfd_create": 319, "process_madvise": 440,
                  "name_to_handle_at": 303, "kcmp": 312},
    Arch.AARCH64: {"read": 63, "write": 64, "mmap": 222, "execve": 221, "exit_group": 94, "openat": 56,
                   "prctl": 167, "seccomp": 277, "landlock_create_ruleset": 444, "memfd_create": 279},
}  # fmt: skip


def name(filter_: Filter) -> str:
    return f"{filter_.arch}-{filter_.variant}{'-nested' if filter_.nested else ''}"


def answer(filter_: Filter, call: syscalls.Numbers | int, *arguments: int) -> str | int:
    number = call if isinstance(call, int) else call.on(filter_.arch)
    assert number is not None
    return decide(filter_.program(), Call(number, arguments, AUDIT_ARCH[filter_.arch]))


def denied(groups: tuple[syscalls.Group, ...], arch: Arch) -> dict[str, int]:
    calls = {call: numbers.on(arch) for group in groups for call, numbers in group.calls.items()}
    return {call: number for call, number in calls.items() if number is not None}


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_every_call_that_is_always_denied_gets_eperm(filter_: Filter) -> None:
    for call, number in denied(syscalls.ALWAYS, filter_.arch).items():
        assert answer(filter_, number) == EPERM, call


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_mounts_and_namespaces_are_open_only_where_sandboxes_may_nest(filter_: Filter) -> None:
    for call, number in denied(syscalls.UNLESS_NESTED, filter_.arch).items():
        assert answer(filter_, number) == (ALLOW if filter_.nested else EPERM), call


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_what_programs_need_is_allowed(filter_: Filter) -> None:
    for call, number in NEEDED[filter_.arch].items():
        assert answer(filter_, number) == ALLOW, call


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_no_other_number_is_touched(filter_: Filter) -> None:
    """Every number up to 600: exactly the listed ones are not plainly allowed (with arguments of 0)."""
    listed = set(denied(syscalls.ALWAYS, filter_.arch).values())
    if not filter_.nested:
        listed |= set(denied(syscalls.UNLESS_NESTED, filter_.arch).values())
        listed |= {435, 437}  # clone3, openat2
    listed |= {syscalls.SOCKET.on(filter_.arch) or 0, syscalls.SOCKETPAIR.on(filter_.arch) or 0}
    if filter_.variant is Variant.ALONE:
        groups = (syscalls.CHANGING, syscalls.ATTRIBUTES, *syscalls.SHARED)
        listed |= set(denied(groups, filter_.arch).values())
        # A request of 0 is no terminal's; and a kind of 0 names processes to setpriority only.
        listed |= {syscalls.IOCTL.on(filter_.arch) or 0, syscalls.IOPRIO_SET.on(filter_.arch) or 0}
    assert {number for number in range(600) if answer(filter_, number) != ALLOW} == listed


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_another_architecture_is_killed(filter_: Filter) -> None:
    others = {I386, ARM, *AUDIT_ARCH.values()} - {AUDIT_ARCH[filter_.arch]}
    for arch in others:
        assert decide(filter_.program(), Call(0, (), arch)) == KILL


@pytest.mark.parametrize("variant", Variant)
def test_x32_numbers_do_not_exist(variant: Variant) -> None:
    filter_ = Filter(Arch.X86_64, variant, nested=False)
    for number in (0x40000000, 0x40000000 | 101, 0x40000000 | 521, -1):
        assert answer(filter_, number) == ENOSYS


@pytest.mark.parametrize("filter_", STRICT, ids=name)
def test_clone3_does_not_exist_so_that_libc_falls_back(filter_: Filter) -> None:
    assert answer(filter_, syscalls.CLONE3) == ENOSYS


@pytest.mark.parametrize("filter_", STRICT, ids=name)
def test_clone_makes_threads_and_processes_but_no_namespace(filter_: Filter) -> None:
    thread, process = 0x3D0F00, 0x1200011  # pthread_create's flags; fork's, with SIGCHLD
    assert answer(filter_, syscalls.CLONE, thread) == ALLOW
    assert answer(filter_, syscalls.CLONE, process) == ALLOW
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(filter_, syscalls.CLONE, flag | 17) == EPERM
        assert answer(filter_, syscalls.CLONE, flag | 17 | HIGH) == EPERM


def test_nested_sandboxes_may_clone_namespaces() -> None:
    for filter_ in EVERY:
        if filter_.nested:
            assert answer(filter_, syscalls.CLONE, 0x10000000 | 17) == ALLOW
            assert answer(filter_, syscalls.CLONE3) == ALLOW


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_nothing_can_be_typed_into_the_terminal_even_with_high_bits_set(filter_: Filter) -> None:
    for request in (0x5412, 0x541C):
        assert answer(filter_, syscalls.IOCTL, 0, request) == EPERM
        assert answer(filter_, syscalls.IOCTL, 0, request | HIGH) == EPERM
    assert answer(filter_, syscalls.IOCTL, 0, 0x5401) == ALLOW  # TCGETS


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_only_the_listed_socket_families_exist(filter_: Filter) -> None:
    unix = ALLOW if filter_.variant is Variant.UNIX else EPERM
    for family in range(64):
        allowed = {AF_INET: ALLOW, AF_INET6: ALLOW, AF_NETLINK: ALLOW, AF_UNIX: unix}.get(family, EPERM)
        for flags in (0, CLOEXEC | NONBLOCK):
            assert answer(filter_, syscalls.SOCKET, family, STREAM | flags, 0) == allowed, family
            # The kernel takes an int: high bits must neither open nor close a family.
            assert answer(filter_, syscalls.SOCKET, family | HIGH, STREAM | flags, 0) == allowed, family


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_netlink_is_for_routes_only(filter_: Filter) -> None:
    for protocol in range(1, 32):
        assert answer(filter_, syscalls.SOCKET, AF_NETLINK, RAW, protocol) == EPERM
    assert answer(filter_, syscalls.SOCKET, AF_NETLINK, RAW | CLOEXEC, 0) == ALLOW


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_the_old_way_to_a_packet_socket_is_closed(filter_: Filter) -> None:
    assert answer(filter_, syscalls.SOCKET, AF_INET, SOCK_PACKET | CLOEXEC, 3) == EPERM
    assert answer(filter_, syscalls.SOCKET, AF_INET, DGRAM | CLOEXEC, 17) == ALLOW


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_a_pair_is_unix_and_without_unix_sockets_connected(filter_: Filter) -> None:
    unix = filter_.variant is Variant.UNIX
    assert answer(filter_, syscalls.SOCKETPAIR, AF_UNIX, STREAM | CLOEXEC) == ALLOW
    assert answer(filter_, syscalls.SOCKETPAIR, AF_UNIX, SEQPACKET) == ALLOW
    # SOCK_RAW of AF_UNIX is a datagram socket (net/unix/af_unix.c, unix_create).
    for kind in (DGRAM, RAW):
        assert answer(filter_, syscalls.SOCKETPAIR, AF_UNIX, kind | NONBLOCK) == (ALLOW if unix else EPERM)
    for family in (AF_INET, AF_VSOCK, AF_PACKET, AF_ALG):
        assert answer(filter_, syscalls.SOCKETPAIR, family, STREAM) == EPERM


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_the_program_is_what_the_golden_file_shows(filter_: Filter, update_golden: bool) -> None:
    golden = GOLDEN / f"{name(filter_)}.txt"
    if update_golden:
        golden.write_text(filter_.describe())
    assert filter_.describe() == golden.read_text(), "pytest --update-golden, and read the diff"


def test_a_policy_gets_a_filter_for_each_architecture_and_variant() -> None:
    assert [filter_.file_name for filter_ in filters(nested=False)] == [
        "seccomp-x86_64-unix.bpf",
        "seccomp-x86_64-nounix.bpf",
        "seccomp-aarch64-unix.bpf",
        "seccomp-aarch64-nounix.bpf",
    ]


def test_only_a_policy_that_accepts_it_gets_a_filter_for_landlock_alone() -> None:
    names = [filter_.file_name for filter_ in filters(nested=False, alone=True)]
    assert set(names) - {filter_.file_name for filter_ in filters(nested=False)} == {
        "seccomp-x86_64-alone.bpf",
        "seccomp-aarch64-alone.bpf",
    }


@pytest.mark.parametrize("filter_", ALONE, ids=name)
def test_without_mounts_every_door_to_modes_times_and_shared_objects_is_closed(filter_: Filter) -> None:
    for group, wanted in ((syscalls.CHANGING, EROFS), (syscalls.ATTRIBUTES, EOPNOTSUPP)):
        for call, number in denied((group,), filter_.arch).items():
            assert answer(filter_, number) == wanted, call
    for call, number in denied(syscalls.SHARED, filter_.arch).items():
        assert answer(filter_, number) == ENOSYS, call


@pytest.mark.parametrize("filter_", ALONE, ids=name)
def test_without_mounts_only_terminals_and_sockets_take_requests(filter_: Filter) -> None:
    allowed = {"TCGETS": 0x5401, "FIONREAD": 0x541B, "TIOCGPTN": 0x80045430, "SIOCGIFCONF": 0x8912}
    for request in allowed.values():
        assert answer(filter_, syscalls.IOCTL, 3, request) == ALLOW
    changing = {
        "FS_IOC_SETFLAGS": 0x40086602, "FS_IOC_FSSETXATTR": 0x401C5820, "FS_IOC_SETVERSION": 0x40087602,
        "BTRFS_IOC_SUBVOL_CREATE": 0x5000940E, "FICLONE": 0x40049409, "FS_IOC_ENABLE_VERITY": 0x40806685,
        "FAT_IOCTL_SET_ATTRIBUTES": 0x40047211, "PIDFD_GET_NET_NAMESPACE": 0xFF04,
    }  # fmt: skip
    for call, request in changing.items():
        assert answer(filter_, syscalls.IOCTL, 3, request) == ENOTTY, call
        assert answer(filter_, syscalls.IOCTL, 3, request | HIGH) == ENOTTY, call


@pytest.mark.parametrize("filter_", ALONE, ids=name)
def test_without_mounts_no_file_is_said_to_be_writable(filter_: Filter) -> None:
    for index, calls in syscalls.ACCESS.items():
        for numbers in calls.values():
            if (number := numbers.on(filter_.arch)) is not None:
                before = [0] * index
                assert [answer(filter_, number, *before, mode) for mode in (0, 4, 5, 2, 6, 7)] == [
                    *[ALLOW] * 3,
                    *[EROFS] * 3,
                ]


@pytest.mark.parametrize("filter_", ALONE, ids=name)
def test_without_a_pid_namespace_only_the_caller_can_be_slowed_down_or_limited(filter_: Filter) -> None:
    for call, numbers in syscalls.OF_A_PROCESS.items():
        assert answer(filter_, numbers, 0) == ALLOW, call
        assert answer(filter_, numbers, HIGH) == ALLOW, "the kernel takes an int"
        for pid in (1, 4242, 0xFFFFFFFF):
            assert answer(filter_, numbers, pid) == EPERM, call
    for numbers, process in ((syscalls.SETPRIORITY, 0), (syscalls.IOPRIO_SET, 1)):
        assert answer(filter_, numbers, process, 0) == ALLOW
        assert answer(filter_, numbers, process, 4242) == EPERM
        for kind in {0, 1, 2, 3} - {process}:
            assert answer(filter_, numbers, kind, 0) == EPERM


@pytest.mark.parametrize("arch", Arch)
def test_where_programs_are_listed_no_memory_can_be_executed_as_one(arch: Arch) -> None:
    listed = Filter(arch, Variant.UNIX, nested=False, listed=True)
    noexec_seal, allow_sealing = 0x8, 0x2
    assert answer(listed, syscalls.MEMFD_CREATE, 0, noexec_seal | allow_sealing) == ALLOW
    for flags in (0, 1, allow_sealing, 0x10, HIGH | noexec_seal << 32):
        assert answer(listed, syscalls.MEMFD_CREATE, 0, flags) == ENOSYS
    assert answer(Filter(arch, Variant.UNIX, nested=False), syscalls.MEMFD_CREATE, 0, 0) == ALLOW


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_no_program_becomes_set_user_id_unless_sandboxes_may_nest(filter_: Filter) -> None:
    set_user_id, refused = 0o4755, ALLOW if filter_.nested else EPERM
    never = syscalls.CHANGING.calls if filter_.variant is Variant.ALONE else {}
    for index, calls in syscalls.SET_MODE.items():
        for call, numbers in calls.items():
            if call not in never and (number := numbers.on(filter_.arch)) is not None:
                before = [0] * index
                assert answer(filter_, number, *before, set_user_id) == refused, call
                assert answer(filter_, number, *before, set_user_id | HIGH) == refused, call
                assert answer(filter_, number, *before, 0o3755 | HIGH << 11) == ALLOW, call


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_a_mode_counts_only_where_a_file_is_created(filter_: Filter) -> None:
    refused = ALLOW if filter_.nested else EPERM
    calls = [(syscalls.OPENAT, [0])] + ([(syscalls.OPEN, [])] if filter_.arch is Arch.X86_64 else [])
    for call, before in calls:
        for creates in (0o100 | 1, 0o20200000 | 2):  # O_CREAT, O_TMPFILE
            assert answer(filter_, call, *before, 0, creates, 0o4755) == refused
            assert answer(filter_, call, *before, 0, creates, 0o1777) == ALLOW
        for opens in (0, 2, 0o200000, CLOEXEC):
            assert answer(filter_, call, *before, 0, opens, 0o4755) == ALLOW
    assert answer(filter_, syscalls.OPENAT2, 0, 0, 0, 24) == (ALLOW if filter_.nested else ENOSYS)


@pytest.mark.parametrize("filter_", EVERY, ids=name)
def test_what_is_left_alone_on_purpose_is_allowed(filter_: Filter) -> None:
    refused = denied(syscalls.SHARED, filter_.arch) if filter_.variant is Variant.ALONE else {}
    for call, number in denied(syscalls.LEFT_ALONE, filter_.arch).items():
        if call in refused:
            continue
        assert answer(filter_, number) == ALLOW, call


def test_the_document_is_what_the_data_says() -> None:
    document = Path(__file__).parents[3] / "docs" / "seccomp.md"
    assert document.read_text() == reference.markdown(), "run: make generate"


@pytest.mark.parametrize("arch", Arch)
def test_where_the_hosts_processes_may_be_in_sight_none_is_given_a_limit(arch: Arch) -> None:
    filter_ = Filter(arch, Variant.UNIX, nested=False, host_pids=True)
    prlimit = syscalls.OF_A_PROCESS["prlimit64"]
    assert answer(filter_, prlimit, 0, 0) == ALLOW
    assert answer(filter_, prlimit, 4242, 0) == EPERM
    assert answer(Filter(arch, Variant.UNIX, nested=False), prlimit, 4242, 0) == ALLOW
