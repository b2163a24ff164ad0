"""The seccomp filter: what a workload may not ask the kernel, for one architecture and socket variant.

Default allow; a match returns EPERM. Three answers differ, each because EPERM would do harm: clone3 says
ENOSYS, after which libc falls back to clone (EPERM would end every pthread_create); an x32 number says
ENOSYS, as a kernel without x32 does, which also keeps the answer for number -1; a foreign architecture is
killed, because a 32-bit program whose every call fails, exit included, spins for ever. What the variant
`alone` refuses on top is answered as by a read-only file system, or a kernel built without it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from fleetbox.targets.bubblewrap import syscalls
from fleetbox.targets.bubblewrap.bpf import Code, Jump, Label, Plain, assemble, decode, disassemble
from fleetbox.targets.bubblewrap.syscalls import Arch

Line = Plain | Jump | Label

# struct seccomp_data: nr, arch, instruction_pointer, args[6]; little endian, so that an argument's low half
# comes first. Only low halves are compared: the kernel takes these arguments as int or unsigned int, and a
# filter on all 64 bits is passed by setting a high one.
_NUMBER = 0
_ARCH = 4


def _argument(index: int) -> int:
    return 16 + 8 * index


_AUDIT_ARCH = {Arch.X86_64: 0xC000003E, Arch.AARCH64: 0xC00000B7}
_X32_BIT = 0x40000000

_ALLOW = 0x7FFF0000
_KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000
# Linux's own numbers: the control machine may be a Mac, where ENOSYS is 78.
_EPERM, _ENOTTY, _EROFS, _ENOSYS, _EOPNOTSUPP = 1, 25, 30, 38, 95

# CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}. CLONE_NEWTIME shares its bit with clone's exit signal and
# exists for clone3 and unshare only.
_NAMESPACE_FLAGS = 0x7E020000
_MFD_NOEXEC_SEAL = 0x8
_S_ISUID = 0o4000
_CREATES = (
    0o100 | 0o20000000
)  # O_CREAT, and of O_TMPFILE the bit that is its own; alike on both architectures
_TIOCSTI = 0x5412
_TIOCLINUX = 0x541C
# _IOC_TYPE: whose numbering a request belongs to. Terminals (and FIONREAD and the like), sockets.
_IOCTL_TYPE = 0xFF00
_OF_TERMINALS, _OF_SOCKETS = 0x5400, 0x8900
_PRIO_PROCESS, _IOPRIO_WHO_PROCESS = 0, 1
_W_OK = 2

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_NETLINK_ROUTE = 0
_TYPE_MASK = 0xF  # the kernel's SOCK_TYPE_MASK; above it are SOCK_NONBLOCK and SOCK_CLOEXEC
_SOCK_STREAM, _SOCK_SEQPACKET, _SOCK_PACKET = 1, 5, 10


class Variant(StrEnum):
    """Whether a workload may make AF_UNIX sockets; the launcher chooses one when it knows the GPU.

    `alone` is for a sandbox without bubblewrap: no AF_UNIX, and what the mounts would refuse.
    """

    UNIX = "unix"
    NO_UNIX = "nounix"
    ALONE = "alone"


@dataclass(frozen=True)
class Filter:
    """What decides the program."""

    arch: Arch
    variant: Variant
    nested: bool
    listed: bool = False
    """Only listed programs may be executed: no Landlock rule tells one memfd from another."""
    host_pids: bool = False
    """The host's processes may be in sight: a limit on time would end one, which Landlock lets pass."""

    @property
    def file_name(self) -> str:
        return f"seccomp-{self.arch}-{self.variant}.bpf"

    def program(self) -> bytes:
        """An array of `struct sock_filter`, as seccomp(2) takes it."""
        return assemble(list(self._lines()))

    def describe(self) -> str:
        """The program disassembled, each call by its name."""
        program = self.program()
        names = {numbers.on(self.arch): name for name, numbers in _every_call()}
        comments = {
            at: names[instruction.value]
            for at, instruction in enumerate(decode(program))
            if instruction.code is Code.EQUAL and at < self._dispatch_end() and instruction.value in names
        }
        return disassemble(program, comments)

    def _lines(self) -> Iterator[Line]:
        yield from self._dispatch()
        if not self.nested:
            yield from _clone()
        yield from _ioctl(self.variant)
        yield from _socket(self.variant)
        yield from _socketpair(self.variant)
        if self.listed:
            yield from _memfd_create()
        if not self.nested:
            yield from _set_user_id()
        if self._knows_others():
            yield from _of_a_process()
        if self.variant is Variant.ALONE:
            yield from _by_argument()
        yield from _answers(self.variant)

    def _knows_others(self) -> bool:
        return self.host_pids or self.variant is Variant.ALONE

    def _dispatch_end(self) -> int:
        return sum(not isinstance(line, Label) for line in self._dispatch())

    def _dispatch(self) -> Iterator[Line]:
        """From the architecture and the number to an answer, or to the block that looks at arguments."""
        yield Plain(Code.LOAD, _ARCH)
        yield Jump(Code.EQUAL, _AUDIT_ARCH[self.arch], no="kill")
        yield Plain(Code.LOAD, _NUMBER)
        if self.arch is Arch.X86_64:
            yield Jump(Code.AT_LEAST, _X32_BIT, yes="no such call")
        for number in self._refused():
            yield Jump(Code.EQUAL, number, yes="refuse")
        if not self.nested:
            yield self._call(syscalls.CLONE3, "no such call")
            yield self._call(syscalls.CLONE, "clone")
        yield self._call(syscalls.IOCTL, "ioctl")
        yield self._call(syscalls.SOCKET, "socket")
        yield self._call(syscalls.SOCKETPAIR, "socketpair")
        if self.listed:
            yield self._call(syscalls.MEMFD_CREATE, "memfd_create")
        if self.variant is Variant.ALONE:
            yield from self._dispatch_alone()
        elif self._knows_others():
            yield self._call(syscalls.OF_A_PROCESS["prlimit64"], "of a process")
        if not self.nested:
            yield from self._set_user_id()
        yield Plain(Code.RETURN, _ALLOW)

    def _set_user_id(self) -> Iterator[Line]:
        """openat2 keeps its mode in memory, where no filter sees it; programs fall back to openat."""
        yield self._call(syscalls.OPENAT2, "no such call")
        yield self._call(syscalls.OPENAT, "openat")
        if self.arch is Arch.X86_64:
            yield self._call(syscalls.OPEN, "open")
        for index, calls in syscalls.SET_MODE.items():
            for numbers in calls.values():
                if numbers.on(self.arch) is not None:
                    yield self._call(numbers, f"mode {index}")

    def _dispatch_alone(self) -> Iterator[Line]:
        for number in self._numbers(syscalls.CHANGING):
            yield Jump(Code.EQUAL, number, yes="read-only")
        for number in self._numbers(syscalls.ATTRIBUTES):
            yield Jump(Code.EQUAL, number, yes="no attributes")
        for number in self._numbers(*syscalls.SHARED):
            yield Jump(Code.EQUAL, number, yes="no such call")
        for numbers in syscalls.OF_A_PROCESS.values():
            yield self._call(numbers, "of a process")
        for index, calls in syscalls.ACCESS.items():
            for numbers in calls.values():
                if numbers.on(self.arch) is not None:
                    yield self._call(numbers, f"access {index}")
        yield self._call(syscalls.SETPRIORITY, "setpriority")
        yield self._call(syscalls.IOPRIO_SET, "ioprio_set")

    def _call(self, numbers: syscalls.Numbers, label: str) -> Jump:
        number = numbers.on(self.arch)
        if number is None:
            raise ValueError(f"{label} has no number on {self.arch}")
        return Jump(Code.EQUAL, number, yes=label)

    def _refused(self) -> list[int]:
        return self._numbers(*syscalls.ALWAYS, *(() if self.nested else syscalls.UNLESS_NESTED))

    def _numbers(self, *groups: syscalls.Group) -> list[int]:
        numbers = (call.on(self.arch) for group in groups for call in group.calls.values())
        return sorted(number for number in numbers if number is not None)


def filters(
    *, nested: bool, listed: bool = False, host_pids: bool = False, alone: bool = False
) -> tuple[Filter, ...]:
    """Every filter that a policy's directory holds. `alone`: Landlock may stand in for bubblewrap."""
    variants = [variant for variant in Variant if alone or variant is not Variant.ALONE]
    return tuple(Filter(arch, variant, nested, listed, host_pids) for arch in Arch for variant in variants)


def _every_call() -> Iterator[tuple[str, syscalls.Numbers]]:
    alone = (syscalls.CHANGING, syscalls.ATTRIBUTES, *syscalls.SHARED)
    for group in (*syscalls.ALWAYS, *syscalls.UNLESS_NESTED, *alone):
        yield from group.calls.items()
    yield from syscalls.BY_ARGUMENT.items()


def _clone() -> Iterator[Line]:
    yield Label("clone")
    yield Plain(Code.LOAD, _argument(0))
    yield Jump(Code.ANY_BIT, _NAMESPACE_FLAGS, yes="refuse", no="allow")


def _ioctl(variant: Variant) -> Iterator[Line]:
    """Both type into the terminal that started the sandbox.

    Many a file system changes files at requests of its own, which need no descriptor that writes: where no
    mount is read-only, only terminals and sockets take any.
    """
    yield Label("ioctl")
    yield Plain(Code.LOAD, _argument(1))
    yield Jump(Code.EQUAL, _TIOCSTI, yes="refuse")
    if variant is not Variant.ALONE:
        yield Jump(Code.EQUAL, _TIOCLINUX, yes="refuse", no="allow")
        return
    yield Jump(Code.EQUAL, _TIOCLINUX, yes="refuse")
    yield Plain(Code.AND, _IOCTL_TYPE)
    yield Jump(Code.EQUAL, _OF_TERMINALS, yes="allow")
    yield Jump(Code.EQUAL, _OF_SOCKETS, yes="allow", no="no such request")


def _socket(variant: Variant) -> Iterator[Line]:
    yield Label("socket")
    yield Plain(Code.LOAD, _argument(0))
    if variant is Variant.UNIX:
        yield Jump(Code.EQUAL, _AF_UNIX, yes="allow")
    yield Jump(Code.EQUAL, _AF_INET, yes="inet")
    yield Jump(Code.EQUAL, _AF_INET6, yes="allow")
    yield Jump(Code.EQUAL, _AF_NETLINK, no="refuse")
    yield Plain(Code.LOAD, _argument(2))
    yield Jump(Code.EQUAL, _NETLINK_ROUTE, yes="allow", no="refuse")
    # The kernel turns AF_INET with SOCK_PACKET into AF_PACKET (net/socket.c, __sock_create).
    yield Label("inet")
    yield Plain(Code.LOAD, _argument(1))
    yield Plain(Code.AND, _TYPE_MASK)
    yield Jump(Code.EQUAL, _SOCK_PACKET, yes="refuse", no="allow")


def _socketpair(variant: Variant) -> Iterator[Line]:
    """Without AF_UNIX a pair must be connection-oriented: an end of a datagram pair can sendto any path."""
    yield Label("socketpair")
    yield Plain(Code.LOAD, _argument(0))
    if variant is Variant.UNIX:
        yield Jump(Code.EQUAL, _AF_UNIX, yes="allow", no="refuse")
        return
    yield Jump(Code.EQUAL, _AF_UNIX, no="refuse")
    yield Plain(Code.LOAD, _argument(1))
    yield Plain(Code.AND, _TYPE_MASK)
    yield Jump(Code.EQUAL, _SOCK_STREAM, yes="allow")
    yield Jump(Code.EQUAL, _SOCK_SEQPACKET, yes="allow", no="refuse")


def _memfd_create() -> Iterator[Line]:
    """Allowed where it can never be executed; ENOSYS else, after which programs take a file in /tmp."""
    yield Label("memfd_create")
    yield Plain(Code.LOAD, _argument(1))
    yield Jump(Code.ANY_BIT, _MFD_NOEXEC_SEAL, yes="allow", no="no such call")


def _set_user_id() -> Iterator[Line]:
    """A program with this bit in the workspace is the workload's account for every other one that runs it."""
    yield Label("open")
    yield Plain(Code.LOAD, _argument(1))
    yield Jump(Code.ANY_BIT, _CREATES, yes="mode 2", no="allow")  # without them a mode is not there at all
    yield Label("openat")
    yield Plain(Code.LOAD, _argument(2))
    yield Jump(Code.ANY_BIT, _CREATES, yes="mode 3", no="allow")
    for index in (1, 2, 3):
        yield Label(f"mode {index}")
        yield Plain(Code.LOAD, _argument(index))
        yield Jump(Code.ANY_BIT, _S_ISUID, yes="refuse", no="allow")


def _of_a_process() -> Iterator[Line]:
    """Allowed about the calling process; others are not the sandbox's to slow down, or to end by a limit."""
    yield Label("of a process")
    yield Plain(Code.LOAD, _argument(0))
    yield Jump(Code.EQUAL, 0, yes="allow", no="refuse")


def _by_argument() -> Iterator[Line]:
    """Whether a file may be written is answered as by a read-only mount; priorities are as limits are."""
    for index in syscalls.ACCESS:
        yield Label(f"access {index}")
        yield Plain(Code.LOAD, _argument(index))
        yield Jump(Code.ANY_BIT, _W_OK, yes="read-only", no="allow")
    for label, kind in (("setpriority", _PRIO_PROCESS), ("ioprio_set", _IOPRIO_WHO_PROCESS)):
        yield Label(label)
        yield Plain(Code.LOAD, _argument(0))
        yield Jump(Code.EQUAL, kind, no="refuse")
        yield Plain(Code.LOAD, _argument(1))
        yield Jump(Code.EQUAL, 0, yes="allow", no="refuse")


_EVERYWHERE = (
    ("allow", _ALLOW),
    ("refuse", _ERRNO | _EPERM),
    ("no such call", _ERRNO | _ENOSYS),
    ("kill", _KILL_PROCESS),
)
_ALONE = (
    ("read-only", _ERRNO | _EROFS),
    ("no attributes", _ERRNO | _EOPNOTSUPP),
    ("no such request", _ERRNO | _ENOTTY),
)


def _answers(variant: Variant) -> Iterator[Line]:
    for label, answer in _EVERYWHERE + (_ALONE if variant is Variant.ALONE else ()):
        yield Label(label)
        yield Plain(Code.RETURN, answer)
