"""A host over ssh, by paramiko: strict host keys, keys and agent, jumps; one exec per command.

Everything paramiko, the network or the host can raise becomes Unreachable, TrustRefused or ApplyFailed
here. A command that was started and never answered is ApplyFailed: it may have had its effect.
"""

import logging
import select
import shlex
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from fleetbox.errors import ApplyFailed, FleetboxError, Unreachable, UsageError
from fleetbox.transport import ssh_options
from fleetbox.transport.bounded import CHUNK, Deadline, Output
from fleetbox.transport.dial import dial
from fleetbox.transport.host_key import HostKeyRule, rule_for
from fleetbox.transport.identities import Identities
from fleetbox.transport.interface import Completed, Endpoint, clean
from fleetbox.transport.ssh_options import Login, SshOptions

# paramiko reports each broken connection to logging as well, which would print it a second time.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_MAX_HOPS = 8
_KEEPALIVE = 15
_NETWORK_ERRORS = (paramiko.SSHException, EOFError, OSError)


@dataclass
class _Connection:
    """An authenticated connection and the one it runs through, if it jumps."""

    session: paramiko.Transport
    options: SshOptions
    local_address: str | None
    below: "_Connection | None"

    def close(self) -> None:
        self.session.close()
        if self.below is not None:
            self.below.close()


def connect_ssh(host: Endpoint, *, timeout: float) -> "SshTransport":
    """See `transport.connect`; `timeout` is for all of connecting, each hop on its own."""
    return SshTransport(_open(ssh_options.for_endpoint(host), timeout, hops=0))


def _open(options: SshOptions, timeout: float, *, hops: int) -> _Connection:
    if hops > _MAX_HOPS:
        raise UsageError(f"ProxyJump leads through more than {_MAX_HOPS} hosts; does it lead back to itself?")
    rule = rule_for(options)
    limit = options.connect_timeout or timeout
    below = _open(_hop(options, options.proxy_jump), timeout, hops=hops + 1) if options.proxy_jump else None
    try:
        sock, local_address = _socket(options, below, limit)
        session = _negotiate(sock, options, rule, limit)
        try:
            rule.check(session.get_remote_server_key())
            _authenticate(session, options)
        except (FleetboxError, *_NETWORK_ERRORS):
            session.close()
            raise
        session.set_keepalive(options.keepalive or _KEEPALIVE)
        return _Connection(session, options, local_address, below)
    except _NETWORK_ERRORS as error:
        _close(below)
        raise Unreachable(f"{_where(options)}: {_reason(error)}") from error
    except FleetboxError:
        _close(below)
        raise


def _close(connection: _Connection | None) -> None:
    if connection is not None:
        connection.close()


def _hop(options: SshOptions, jump: str) -> SshOptions:
    """The options of the last hop of `A,B,C`; the hops before it become its own jump, as in OpenSSH."""
    before, _, last = jump.rpartition(",")
    user, _, address = last.removeprefix("ssh://").rpartition("@")
    address, port = _split_port(address)
    words = (*options.jump_words, *(["-J", before] if before else []))
    return ssh_options.resolve(Login(address, port, user or None, words))


def _split_port(address: str) -> tuple[str, int | None]:
    """`host:22`, `[::1]:22`, or either without a port."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or not host or (":" in host and not host.startswith("[")):
        return address.strip("[]"), None
    return host.strip("[]"), int(port)


def _socket(
    options: SshOptions, below: _Connection | None, limit: float
) -> tuple[socket.socket | paramiko.Channel, str | None]:
    if below is None:
        sock = dial(options.hostname, options.port, options.family, limit)
        return sock, str(sock.getsockname()[0])
    there = (options.hostname, options.port)
    return below.session.open_channel("direct-tcpip", there, ("127.0.0.1", 0), timeout=limit), None


def _negotiate(
    sock: socket.socket | paramiko.Channel, options: SshOptions, rule: HostKeyRule, limit: float
) -> paramiko.Transport:
    """Exchange keys; the host key is proven to be the host's, and not yet judged."""
    session = paramiko.Transport(sock)
    session.banner_timeout = session.handshake_timeout = session.auth_timeout = limit
    security = session.get_security_options()
    try:
        security.key_types = rule.algorithms()
        security.ciphers = _allowed(security.ciphers, options.ciphers, "Ciphers")
        security.digests = _allowed(security.digests, options.macs, "MACs")
        security.kex = _allowed(security.kex, options.kex, "KexAlgorithms")
        session.start_client(timeout=limit)
        session.get_remote_server_key()  # raises where the time ran out, which start_client does not say
    except IncompatiblePeer as error:
        session.close()
        if "host key" in str(error):
            raise rule.refused_negotiation() from error
        raise
    except (FleetboxError, *_NETWORK_ERRORS):
        session.close()
        raise
    return session


def _allowed(ours: Sequence[str], theirs: frozenset[str], option: str) -> tuple[str, ...]:
    both = tuple(name for name in ours if name in theirs)
    if not both:
        raise UsageError(f"the ssh option {option} allows nothing that this program can do")
    return both


def _authenticate(session: paramiko.Transport, options: SshOptions) -> None:
    refused = 0
    with Identities(options) as identities:
        for _, key in identities:
            try:
                session.auth_publickey(options.user, key)
            except paramiko.AuthenticationException:
                refused += 1
            if session.is_authenticated():
                return
            if not session.is_active():
                break
        hints = [*identities.skipped, "see ssh_config(5), IdentityFile; fleetbox never sends passwords"]
    raise Unreachable(
        f"{_where(options)}: the login is refused ({refused} keys offered)", hint="; ".join(hints)
    )


def _where(options: SshOptions) -> str:
    return f"{options.user}@{options.hostname}:{options.port}"


def _reason(error: Exception) -> str:
    """An exception in words; the host may have written part of it."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, EOFError):
        return "the host closed the connection"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(clean(text, limit=300).split()) or type(error).__name__


class SshTransport:
    """See `Transport`."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    @property
    def is_root(self) -> bool:
        """See `Transport.is_root`."""
        return self._connection.options.user == "root"

    @property
    def local_address(self) -> str | None:
        """See `Transport.local_address`."""
        return self._connection.local_address

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Completed:
        """See `Transport.run`; the words are quoted for the POSIX shell that sshd starts."""
        deadline = Deadline(timeout)
        channel = self._start(shlex.join(argv), deadline)
        try:
            output = _converse(channel, stdin, deadline)
            channel.status_event.wait(deadline.left())
        except _NETWORK_ERRORS as error:
            raise ApplyFailed(
                f"the connection broke: {_reason(error)}; what was done is not known"
            ) from error
        finally:
            channel.close()
        rc = channel.exit_status
        if rc < 0:
            alive = self._connection.session.is_active() and deadline.left()
            raise ApplyFailed("the command was killed on the host" if alive else "the connection broke")
        return Completed(rc, bytes(output.stdout), bytes(output.stderr))

    def _start(self, command: str, deadline: Deadline) -> paramiko.Channel:
        session = self._connection.session
        try:
            with _closed_after(session, deadline.left()):
                channel = session.open_session(timeout=deadline.left())
                channel.exec_command(command)
        except _NETWORK_ERRORS as error:
            where = _where(self._connection.options)
            raise Unreachable(f"{where}: no command can be started: {_reason(error)}") from error
        return channel

    def close(self) -> None:
        """See `Transport.close`."""
        self._connection.close()


@contextmanager
def _closed_after(session: paramiko.Transport, seconds: float) -> Iterator[None]:
    """Limits what paramiko waits for without a limit (the reply to an exec request)."""
    timer = threading.Timer(seconds, session.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _converse(channel: paramiko.Channel, stdin: bytes, deadline: Deadline) -> Output:
    """Send stdin and take both streams until the host ends them; they share one window, so in turns."""
    output, waiting = Output(), memoryview(stdin)
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    sending = True
    while True:
        if sending:
            waiting = _send_some(channel, waiting)
            if not waiting:
                channel.shutdown_write()
                sending = False
        # A window that opens again wakes nobody, so look again soon while there is something to send.
        poll.poll(20 if sending else deadline.left() * 1000)
        deadline.left()
        ended = channel.eof_received or channel.closed
        _drain(channel, output)
        if ended:
            return output


def _send_some(channel: paramiko.Channel, waiting: memoryview) -> memoryview:
    """What is still to be sent; nothing once the host takes no more."""
    while waiting and channel.send_ready():
        try:
            sent = channel.send(waiting[:CHUNK].tobytes())
        except OSError:
            return waiting[:0]
        waiting = waiting[sent:] if sent else waiting[:0]
    return waiting


def _drain(channel: paramiko.Channel, output: Output) -> None:
    while channel.recv_ready():
        output.take_stdout(channel.recv(CHUNK))
    while channel.recv_stderr_ready():
        output.take_stderr(channel.recv_stderr(CHUNK))
