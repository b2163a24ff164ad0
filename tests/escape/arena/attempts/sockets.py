"""AF_UNIX by every door, other families, and descriptors that come over a socket."""

from __future__ import annotations

import array
import socket
import threading

from tests.escape.arena.attempt import Attempt, Oracle
from tests.escape.arena.oracle import reached_server, serve, sockets, token_came_out, unix_server
from tests.escape.arena.world import World

FILTER = "AF_UNIX refused"
LESS = frozenset({"filter:socket"})
PLACE = "agent.sock"


def stream_server(world: World) -> None:
    unix_server(world, PLACE)
    world.params["path"] = str(world.at(PLACE))


def dgram_server(world: World) -> None:
    unix_server(world, PLACE, socket.SOCK_DGRAM)
    world.params["path"] = str(world.at(PLACE))


def _abstract(world: World) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + world.mark)
    serve(world, listener)


def _passes_descriptors(world: World) -> None:
    """A service that hands an open file to whoever connects, as a container engine would mount one."""
    secret = world.secret("/srv/roots-secret", root=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(world.at(PLACE)))
    world.at(PLACE).chmod(0o777)
    listener.listen()
    world.params["path"] = str(world.at(PLACE))

    def work() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with open(secret) as file, connection:
            rights = array.array("i", [file.fileno()])
            connection.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    threading.Thread(target=work, daemon=True).start()
    world.stack.callback(listener.close)


def _any_other(world: World) -> bool:
    """A socket that is none of AF_UNIX, IPv4, IPv6 and the kernel's routing tables."""
    return any(
        family not in (1, 2, 10) and (family, protocol) != (16, 0) for family, protocol in sockets(world)
    )


def _family(family: int, protocol: int | None = None) -> Oracle:
    def look(world: World) -> bool:
        held = list(sockets(world))
        return any(one == family and protocol in (None, other) for one, other in held)

    return look


SEND = "fd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "

ATTEMPTS = (
    Attempt(
        "connect-to-a-socket",
        "connect to a stream socket in the home: a read-only mount does not stop it",
        FILTER,
        LESS,
        "socket.socket(socket.AF_UNIX).connect(path)",
        stream_server,
        reached_server,
        also=("bullseye", "trixie"),
    ),
    Attempt(
        "sendto-a-socket",
        "a datagram with sendto",
        FILTER,
        LESS,
        SEND + 'fd.sendto(b"escaped", path)',
        dgram_server,
        reached_server,
    ),
    Attempt(
        "sendmsg-to-a-socket",
        "the same with sendmsg and a name",
        FILTER,
        LESS,
        SEND + 'fd.sendmsg([b"escaped"], [], 0, path)',
        dgram_server,
        reached_server,
    ),
    Attempt(
        "sendmmsg-to-a-socket",
        "the same with sendmmsg",
        FILTER,
        LESS,
        SEND
        + """
data = ctypes.create_string_buffer(b"escaped")
name = ctypes.create_string_buffer(struct.pack("H108s", 1, path.encode()))
vector = ctypes.create_string_buffer(struct.pack("PN", ctypes.addressof(data), 7))
places = ctypes.addressof(name), 110, ctypes.addressof(vector), 1
header = struct.pack("PIxxxxPNPNixxxxIxxxx", *places, 0, 0, 0, 0)
call("sendmmsg", fd.fileno(), ctypes.create_string_buffer(header), 1, 0)
""",
        dgram_server,
        reached_server,
    ),
    Attempt(
        "sendto-from-a-socketpair",
        "one end of a datagram pair can send to any path, and needs no socket()",
        FILTER,
        frozenset({"filter:socketpair"}),
        'one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); one.sendto(b"escaped", path)',
        dgram_server,
        reached_server,
    ),
    Attempt(
        "connect-to-an-abstract-socket",
        "a name without a path",
        "own network namespace, AF_UNIX refused",
        LESS | {"net"},
        'socket.socket(socket.AF_UNIX).connect("\\0" + MARK)',
        _abstract,
        reached_server,
    ),
    Attempt(
        "connect-to-an-abstract-socket-with-a-gpu",
        "the same where AF_UNIX is allowed, as CUDA needs it",
        "own network namespace",
        frozenset({"net", "unix"}),
        'socket.socket(socket.AF_UNIX).connect("\\0" + MARK)',
        _abstract,
        reached_server,
        policy="private",
    ),
    Attempt(
        "connect-to-a-listed-socket-with-a-gpu",
        "a socket in the home that listens at launch, where AF_UNIX is allowed",
        "masks of sockets",
        frozenset({"masks", "unix"}),
        "socket.socket(socket.AF_UNIX).connect(path)",
        stream_server,
        reached_server,
        policy="private",
    ),
    Attempt(
        "receive-a-descriptor",
        "SCM_RIGHTS from a service that hands out files",
        FILTER,
        LESS,
        """
fd = socket.socket(socket.AF_UNIX); fd.connect(path)
_, extra, _, _ = fd.recvmsg(1, socket.CMSG_LEN(4))
print(os.read(struct.unpack("i", extra[0][2])[0], 100).decode())
""",
        _passes_descriptors,
        token_came_out,
    ),
    Attempt(
        "open-a-vsock",
        "AF_VSOCK: to the hypervisor, and to Windows on WSL2",
        "socket families",
        LESS,
        "fd = socket.socket(40, socket.SOCK_STREAM); meet()",
        during=_family(40),
    ),
    Attempt(
        "open-a-packet-socket",
        "AF_PACKET with every capability",
        "no capabilities, socket families",
        LESS | {"caps"},
        "fd = socket.socket(17, socket.SOCK_RAW); meet()",
        during=_family(17),
    ),
    Attempt(
        "open-an-old-packet-socket",
        "AF_INET with SOCK_PACKET, which the kernel turns into AF_PACKET",
        "no capabilities, socket families",
        LESS | {"caps"},
        "fd = socket.socket(2, 10); meet()",
        during=_family(17),
    ),
    Attempt(
        "open-any-other-family",
        "every address family that there is, with every type: AF_ALG, AF_KEY, AF_BLUETOOTH, AF_RDS, AF_XDP …",
        "no capabilities, socket families",
        LESS | {"caps"},
        """
keep = []
for family in (number for number in range(48) if number not in (1, 2, 10)):
    for kind in (1, 2, 3, 4, 5, 10):
        for protocol in (0, *range(1, 24)) if family == 16 else (0, 1):
            keep.append(attempt(socket.socket, family, kind, protocol))
meet()
""",
        during=_any_other,
    ),
    Attempt(
        "open-an-audit-netlink",
        "NETLINK_KOBJECT_UEVENT and NETLINK_SOCK_DIAG: what the kernel tells of the machine",
        "socket families",
        LESS,
        """
for number in (15, 4, 9):
    keep = attempt(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, number)
    if keep: break
meet()
""",
        during=_family(16, 15),
    ),
)
