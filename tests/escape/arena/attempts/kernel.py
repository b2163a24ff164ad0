"""System calls that reach past every namespace, and doors round the filter."""

from __future__ import annotations

import ctypes

from tests.escape.arena.attempt import Attempt
from tests.escape.arena.attempts.sockets import dgram_server
from tests.escape.arena.oracle import descriptors, holds, is_traced, payloads, reached_server, token_came_out
from tests.escape.arena.world import World

FILTER = "seccomp filter"


def less(*calls: str) -> frozenset[str]:
    return frozenset({"filter:" + ",".join(calls)})


def _session_key(world: World) -> None:
    """A key in the session keyring of whoever starts the sandbox, as Kerberos and ssh helpers keep theirs."""
    numbers, token = world.config.numbers, world.token

    def prepare() -> None:
        libc = ctypes.CDLL(None)
        libc.syscall(numbers["keyctl"], 1, None)  # KEYCTL_JOIN_SESSION_KEYRING
        libc.syscall(numbers["add_key"], b"user", b"escape", token.encode(), len(token), -3)

    world.prepare = prepare


READ_KEY = """
key = call("{search}", {arguments})
buffer = ctypes.create_string_buffer(4096)
size = call("keyctl", 11, key, buffer, 4096, 0)
print(buffer.raw[:size].decode())
"""

# An i386 call through int 0x80: mmap'ed code that sets eax, ebx, ecx and comes back.
I386 = """
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(b"\\x53\\x89\\xf8\\x89\\xf3\\x89\\xd1\\x31\\xd2\\xcd\\x80\\x5b\\xc3")
at = ctypes.addressof(ctypes.c_char.from_buffer(code))
fd = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int)(at)(374, 1, 0)
print(fd, file=sys.stderr)
meet()
"""

# io_uring does what no filter sees: socket, connect and send as operations of a ring.
RING = """
parameters = ctypes.create_string_buffer(120)
ring = call("io_uring_setup", 8, parameters)
entries, _, _, _, _, features = struct.unpack_from("6I", parameters.raw, 0)
offsets = struct.unpack_from("10I", parameters.raw, 40)
done = struct.unpack_from("10I", parameters.raw, 80)
size = max(offsets[6] + entries * 4, done[5] + 2 * entries * 16)
rings = mmap.mmap(ring, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
table = mmap.mmap(ring, entries * 64, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0x10000000)
keep = []

def operation(code, fd=0, address=0, length=0, offset=0):
    tail = struct.unpack_from("I", rings, offsets[1])[0]
    slot = tail & struct.unpack_from("I", rings, offsets[2])[0]
    struct.pack_into("BBHiQQIIQ24x", table, slot * 64, code, 0, 0, fd, offset, address, length, 0, 0)
    struct.pack_into("I", rings, offsets[6] + slot * 4, slot)
    struct.pack_into("I", rings, offsets[1], tail + 1)
    call("io_uring_enter", ring, 1, 1, 1, None, 0)
    head = struct.unpack_from("I", rings, done[0])[0]
    at = done[5] + (head & struct.unpack_from("I", rings, done[2])[0]) * 16
    result = struct.unpack_from("Qi", rings, at)[1]
    struct.pack_into("I", rings, done[0], head + 1)
    if result < 0:
        raise OSError(-result, os.strerror(-result), f"operation {code}")
    return result

def place(data):
    keep.append(ctypes.create_string_buffer(data))
    return ctypes.addressof(keep[-1])

connection = operation(45, fd=1, offset=2)
name = struct.pack("H108s", 1, path.encode())
operation(16, fd=connection, address=place(name), offset=len(name))
operation(26, fd=connection, address=place(b"escaped"), length=7)
"""

ATTEMPTS = (
    Attempt(
        "trace-a-process",
        "ptrace of a child; the inner stage would be the next one",
        FILTER,
        less("ptrace"),
        """
pid = os.fork()
if pid == 0:
    time.sleep(15); os._exit(0)
call("ptrace", 0x4206, pid, 0, 0); meet()
""",
        lambda world: None,
        is_traced,
        is_traced,
    ),
    Attempt(
        "take-a-neighbours-descriptor",
        "pidfd_getfd from another process of the sandbox",
        FILTER,
        less("pidfd_getfd"),
        """
handle = call("pidfd_open", os.getpid(), 0)
fd = call("pidfd_getfd", handle, os.open("/dev/zero", os.O_RDONLY), 0); meet()
""",
        during=lambda world: _twice(world, "/dev/zero"),
    ),
    Attempt(
        "read-the-session-keyring",
        "keyctl search and read: keyrings belong to no namespace",
        FILTER,
        less("keyctl"),
        READ_KEY.format(search="keyctl", arguments='10, -3, b"user", b"escape", 0'),
        _session_key,
        token_came_out,
        also=("bullseye",),
    ),
    Attempt(
        "request-a-session-key",
        "the same with request_key",
        FILTER,
        less("keyctl", "request_key"),
        READ_KEY.format(search="request_key", arguments='b"user", b"escape", None, 0'),
        _session_key,
        token_came_out,
    ),
    Attempt(
        "open-a-userfaultfd",
        "handle page faults of one's own: makes kernel races easy",
        FILTER,
        less("userfaultfd"),
        'call("userfaultfd", 1); meet()',
        during=holds("userfaultfd"),
    ),
    Attempt(
        "open-a-performance-counter",
        "perf_event_open",
        FILTER,
        less("perf_event_open"),
        """
event = bytearray(128)
struct.pack_into("IIQ", event, 0, 1, 128, 0); struct.pack_into("Q", event, 40, 1 << 5 | 1 << 6)
call("perf_event_open", bytes(event), 0, -1, -1, 0); meet()
""",
        during=holds("perf_event"),
    ),
    Attempt(
        "set-up-a-ring",
        "io_uring_setup",
        FILTER,
        less("io_uring_setup"),
        'call("io_uring_setup", 4, ctypes.create_string_buffer(120)); meet()',
        during=holds("io_uring"),
    ),
    Attempt(
        "connect-through-a-ring",
        "socket, connect and send as io_uring operations, where the filter refuses socket",
        FILTER,
        less("io_uring_setup", "io_uring_enter"),
        RING,
        dgram_server,
        reached_server,
    ),
    Attempt(
        "call-as-i386",
        "int 0x80 with i386's numbers, where 64-bit userfaultfd is refused",
        FILTER,
        frozenset({"filter"}),
        I386,
        during=holds("userfaultfd"),
    ),
)


def _twice(world: World, path: str) -> bool:
    return any(list(descriptors(pid).values()).count(path) > 1 for pid in payloads(world))
