"""What probes act upon: a workspace, decoys, sockets and a process, all made by the workload's user itself.

The scene lives in a forked child that has become that user before it touches anything, so that root never
follows a link that the user planted. It is taken down when its control pipe closes, which the kernel does
also when the program that wanted it is killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import select
import selectors
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

from fleetbox.hostside.probes import attempts
from fleetbox.hostside.probes.launch import Account
from fleetbox.hostside.probes.planted import Planted, Wanted, decoys, plant

LIFETIME = 180  # seconds after which an abandoned scene takes itself down
ANSWER_S = 60.0  # how long it may take to set, or to clean up; its user can make it take for ever
_GRACE_S = 1.0  # for the kernel to bury what was killed
_POLL_S = 0.01
_ANSWER_MAX = 1024 * 1024
MAX_SWEPT = 200
SIOCGIFADDR = 0x8915
SCENES = "/var/tmp"  # noqa: S108 - a fresh 0700 directory is made in it, by the user


class Refused(Exception):
    """The scene could not be set; the text says what was in the way."""


class Scene(NamedTuple):
    """The planted things, by absolute path. `token` is in every planted file and every socket's greeting.

    `writable` and `startup` are pairs of a path and the identity of what is there, or nearest to it.
    """

    root: str
    home: str
    home_identity: str
    beside_identity: str
    token: str
    annex: str
    decoys: tuple[str, ...]
    startup: tuple[tuple[str, str], ...]
    writable: tuple[tuple[str, str], ...]
    loopback_port: int
    host_address: str
    host_port: int

    @property
    def workspace(self) -> str:
        """The one workspace of all launches: concurrent ones must protect the same names where both write."""
        return self.root + "/workspace"

    @property
    def beside(self) -> str:
        """A directory next to the workspace that the user may write outside the sandbox."""
        return self.root + "/beside"

    @property
    def plans(self) -> str:
        """A private directory with the user's own copies of the launch plan; no sandbox may write it."""
        return self.annex + "/plans"

    @property
    def sockets(self) -> str:
        """A directory with sockets that a sandbox can see."""
        return self.annex + "/sockets"

    @property
    def abstract(self) -> str:
        """The name of an abstract socket, written with @."""
        return "@fleetbox-" + self.token

    @property
    def process(self) -> str:
        """The name of the scene's own process, as /proc shows it."""
        return "fbx" + self.token[:12]

    @property
    def beside_place(self) -> tuple[str, str]:
        """(directory, identity) of `beside`."""
        return self.beside, self.beside_identity

    @property
    def home_place(self) -> tuple[str, str]:
        """(directory, identity) of the home directory."""
        return self.home, self.home_identity

    def inside_tmp(self, name: str) -> str:
        """A name in /tmp that nobody else has."""
        return f"/tmp/fleetbox-{name}-{self.token}"  # noqa: S108


class Stage:
    """Context manager that sets a scene as `account` and takes it down again."""

    def __init__(self, account: Account, wanted: Wanted) -> None:
        self._account = account
        self._wanted = wanted
        self._pid = 0
        self._control = -1

    def __enter__(self) -> Scene:
        stop, self._control = os.pipe()
        said, answer = os.pipe()
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid == 0:
            _play(self._account, self._wanted, stop, answer)
        os.close(stop)
        os.close(answer)
        try:
            text = _heard(said, ANSWER_S)
        finally:
            os.close(said)
        if text is None:
            self._end(patience=0.0)
            raise Refused(f"the workload user's process said nothing for {ANSWER_S:.0f} s, and was killed")
        return self._parsed(text)

    def _parsed(self, text: str) -> Scene:
        told: dict[str, Any] = json.loads(text) if text else {"problem": "the workload user's process died"}
        if "problem" in told:
            self._end()
            raise Refused(str(told["problem"]))
        told["decoys"] = tuple(told["decoys"])
        for pairs in ("startup", "writable"):
            told[pairs] = tuple((path, known) for path, known in told[pairs])
        return Scene(**told)

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self, patience: float = ANSWER_S) -> None:
        """Told to stop, it has `patience` seconds to clean up. Its user can have halted it: it is killed
        then, and what even that does not end is the kernel's to bury.
        """
        os.close(self._control)
        if not _ended(self._pid, patience):
            os.kill(self._pid, signal.SIGKILL)
            _ended(self._pid, _GRACE_S)


def _ended(pid: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _heard(fd: int, patience: float) -> str | None:
    """Everything that is said until the other end is closed; None when that takes longer than `patience`."""
    deadline = time.monotonic() + patience
    data = bytearray()
    while (left := deadline - time.monotonic()) > 0:
        if select.select([fd], [], [], left)[0]:
            chunk = os.read(fd, 64 * 1024)
            if not chunk:
                return data.decode("utf-8", "replace")
            data += chunk
            if len(data) > _ANSWER_MAX:
                return None
    return None


def _keep_only(*wanted: int) -> None:
    """Close everything else that was inherited: a lock above all, which the user's process would hold."""
    for fd in map(int, os.listdir("/dev/fd")):
        if fd > 2 and fd not in wanted:
            with suppress(OSError):  # the directory that was just read is among them
                os.close(fd)


def _play(account: Account, wanted: Wanted, stop: int, answer: int) -> NoReturn:
    """The child: become the user, plant, tell, serve until told to stop, clean up. Never returns."""
    code = 1
    try:
        _keep_only(stop, answer)
        _become(account)
        signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(LIFETIME)
        code = _set_and_serve(account, wanted, stop, answer)
    except OSError as problem:
        with suppress(OSError):
            os.write(answer, json.dumps({"problem": str(problem)[:400]}).encode())
    finally:
        os._exit(code)


def _give_up(_number: int, _frame: object) -> NoReturn:
    raise TimeoutError("the scene was abandoned")


def _become(account: Account) -> None:
    if os.geteuid() == 0:
        os.setgroups(list(account.groups))
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
    if os.geteuid() == 0:
        raise PermissionError("probes never run as root: name the workload's user")
    os.chdir("/")
    os.umask(0o077)


def _set_and_serve(account: Account, wanted: Wanted, stop: int, answer: int) -> int:
    token = secrets.token_hex(16)
    planted = Planted(tempfile.mkdtemp(prefix="fleetbox-probe-", dir=SCENES))
    try:
        annex = planted.annex(account.home, wanted.plans)
        plant(planted, wanted, token)
        loopback, network = _listen(("127.0.0.1", 0)), _listen((_host_address(), 0))
        scene = Scene(
            root=planted.root,
            home=account.home,
            home_identity=attempts.identity(account.home),
            beside_identity=attempts.identity(planted.root + "/beside"),
            token=token,
            annex=annex,
            decoys=decoys(planted, wanted, account.home, token),
            startup=tuple(_known(path, account.home) for path in wanted.startup),
            writable=_swept(account.home),
            loopback_port=loopback.getsockname()[1],
            host_address=network.getsockname()[0],
            host_port=network.getsockname()[1],
        )
        attempts.name_myself(scene.process)
        servers = [loopback, network, *_unix_servers(scene.sockets, scene.abstract)]
        os.write(answer, json.dumps(scene._asdict()).encode())
        os.close(answer)
        _serve(servers, token.encode(), stop)
        return 0
    finally:
        planted.remove()


def _known(path: str, home: str) -> tuple[str, str]:
    absolute = path.replace("${HOME}", home, 1)
    try:
        return absolute, attempts.identity(attempts.nearest(absolute))
    except OSError:
        return absolute, ""


def _listen(address: tuple[str, int]) -> socket.socket:
    server = socket.socket()
    server.bind(address)
    server.listen(8)
    return server


def _unix_servers(directory: str, abstract: str) -> list[socket.socket]:
    stream, datagram, named = (
        socket.socket(socket.AF_UNIX, kind)
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_STREAM)
    )
    stream.bind(directory + "/stream")
    datagram.bind(directory + "/datagram")
    named.bind("\0" + abstract[1:])
    stream.listen(8)
    named.listen(8)
    return [stream, datagram, named]


def _host_address() -> str:
    """An address of this host, not loopback where it has one: reached only by sharing its network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for _, name in socket.if_nameindex():
            with suppress(OSError):
                answer = fcntl.ioctl(asker, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                address = socket.inet_ntoa(answer[20:24])
                if not address.startswith("127."):
                    return address
    return "127.0.0.1"


def _swept(home: str) -> tuple[tuple[str, str], ...]:
    """(directory, identity) that the user may write: what a sandbox has to make read-only; not touched."""
    own = {"/dev", "/proc", "/sys", "/tmp", "/var/tmp"}  # noqa: S108 - what every sandbox may have of its own
    candidates = ["/", home]
    for parent in ("/", "/var", home):
        with suppress(OSError):
            candidates += sorted(
                entry.path for entry in os.scandir(parent) if entry.is_dir(follow_symlinks=False)
            )
    wanted = (path for path in dict.fromkeys(candidates) if path not in own)
    found = [path for path in wanted if os.access(path, os.W_OK)][:MAX_SWEPT]
    return tuple((path, attempts.identity(path)) for path in found)


def _serve(servers: Sequence[socket.socket], token: bytes, stop: int) -> None:
    """Greet whoever connects with the token, until the control pipe closes."""
    with selectors.DefaultSelector() as selector:
        selector.register(stop, selectors.EVENT_READ)
        for server in servers:
            selector.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == stop:
                    return
                if isinstance(key.fileobj, socket.socket):
                    _greet(key.fileobj, token)


def _greet(server: socket.socket, token: bytes) -> None:
    with suppress(OSError):
        if server.type == socket.SOCK_DGRAM:
            server.recv(64)
            return
        connection, _ = server.accept()
        with connection:
            connection.sendall(token)
