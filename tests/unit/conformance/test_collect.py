"""An answer is believed for the host it came from, for what was asked, and for nothing else."""

import json
import socket
from typing import Any

import pytest

from fleetbox.conformance import collect
from fleetbox.conformance.collect import Intent
from fleetbox.conformance.egress import Peer
from fleetbox.conformance.model import HostRecord, HostState, Status
from fleetbox.errors import TrustRefused, Unreachable
from fleetbox.fleet.inventory import Host
from fleetbox.transport import Completed
from tests.unit.conformance.made import DIGEST
from tests.unit.conformance.test_model import HOST_ID, answer, spoken

HOST = Host(name="gpu1", address="192.0.2.1")
PLANNED = [{"id": "FBX-FS-001", "params": {}}, {"id": "FBX-FS-002", "params": {}}]
INTENT = Intent("base", DIGEST, PLANNED, HOST_ID)


def record(stdout: bytes, rc: int = 0, stderr: bytes = b"", intent: Intent = INTENT) -> HostRecord:
    return collect.of_answer(HOST, intent, Completed(rc, stdout, stderr))


def statuses(made: HostRecord) -> list[Status]:
    return [result.status for result in made.results]


def test_a_check_that_the_host_says_nothing_of_is_missing() -> None:
    made = record(answer(spoken()))
    assert made.state is HostState.ANSWERED
    assert statuses(made) == [Status.PASS, Status.MISSING]


def test_an_answer_for_another_machine_is_refused_whole() -> None:
    made = record(answer(spoken(), host={"host_id": "c" * 64}))
    assert made.state is HostState.UNTRUSTED
    assert statuses(made) == [Status.NOT_RUN, Status.NOT_RUN]


def test_an_answer_that_leaves_out_who_it_is_is_refused_too() -> None:
    assert record(answer(spoken(), host={})).state is HostState.UNTRUSTED


def test_a_result_that_was_not_asked_for_is_refused() -> None:
    assert record(answer(spoken(check_id="FBX-NS-001"))).state is HostState.FAILED


def test_garbage_is_a_failed_host_and_no_result() -> None:
    made = record(b"\x1b[2J")
    assert made.state is HostState.FAILED
    assert Status.PASS not in statuses(made)


@pytest.mark.parametrize(
    ("rc", "stdout", "stderr", "reason"),
    [
        (127, b"", b"sh: not found", collect.NOT_INSTALLED),
        (1, b"", b"sudo: /usr/local/bin/fleetbox-host: command not found", collect.NOT_INSTALLED),
        (5, b'{"error": {"code": "x", "message": "no\\u001b[2J"}}', b"", "no\ufffd[2J"),
        (1, b"[]", b"Traceback", "fleetbox-host ended with 1: Traceback"),
    ],
)
def test_a_host_program_that_fails_says_why(rc: int, stdout: bytes, stderr: bytes, reason: str) -> None:
    made = record(stdout, rc, stderr)
    assert (made.state, made.reason) == (HostState.FAILED, reason)


@pytest.mark.parametrize(
    ("error", "state", "status"),
    [
        (Unreachable("down"), HostState.UNREACHABLE, Status.MISSING),
        (TrustRefused("key changed"), HostState.UNTRUSTED, Status.NOT_RUN),
        (ValueError("\x1b[2J"), HostState.FAILED, Status.NOT_RUN),
    ],
)
def test_a_host_that_could_not_be_asked(error: Exception, state: HostState, status: Status) -> None:
    made = collect.of_error(HOST, INTENT, error)
    assert made.state is state
    assert set(statuses(made)) == {status}
    assert made.reason.isprintable()


class Recorder:
    """A transport to nobody: remembers what was sent, and whether the peer was there at that moment."""

    is_root = True
    local_address = "127.0.0.1"

    def __init__(self) -> None:
        self.request: dict[str, Any] = {}

    def run(self, argv: object, *, stdin: bytes = b"", timeout: float) -> Completed:
        self.request = json.loads(stdin)
        address, _, port = self.request["egress_peer"].rpartition(":")
        socket.create_connection((address, int(port)), 2).close()
        return Completed(0, answer(spoken(), spoken(check_id="FBX-FS-002")), b"")

    def close(self) -> None: ...


def test_the_egress_peer_listens_while_the_host_is_asked_and_not_longer() -> None:
    recorder = Recorder()
    made = collect.from_host(HOST, recorder, INTENT)
    assert statuses(made) == [Status.PASS, Status.PASS]
    address, _, port = recorder.request["egress_peer"].rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, int(port)), 2)


def test_a_peer_is_named_as_addresses_are_written() -> None:
    with Peer("::1") as peer:
        assert peer.name.startswith("[::1]:")
