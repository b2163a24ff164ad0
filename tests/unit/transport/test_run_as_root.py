"""Becoming root: by sudo without a password, or not at all."""

from collections.abc import Sequence

import pytest

from fleetbox.errors import ApplyFailed
from fleetbox.transport import Completed, run_as_root


class Answering:
    """A host that gives one answer and remembers what it was asked."""

    local_address: str | None = None

    def __init__(self, answer: Completed, *, is_root: bool = False) -> None:
        self._answer = answer
        self.is_root = is_root
        self.asked: list[str] = []

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Completed:
        self.asked = list(argv)
        return self._answer

    def close(self) -> None:
        pass


def test_another_login_than_root_goes_through_sudo_which_may_not_ask() -> None:
    host = Answering(Completed(0, b"", b""))
    run_as_root(host, ["id", "-u"], timeout=1)
    assert host.asked == ["env", "LC_ALL=C", "sudo", "-n", "--", "id", "-u"]


def test_root_needs_no_sudo() -> None:
    host = Answering(Completed(0, b"", b""), is_root=True)
    run_as_root(host, ["id", "-u"], timeout=1)
    assert host.asked == ["id", "-u"]


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (Completed(1, b"", b"sudo: a password is required\n"), "asks for a password"),
        (Completed(127, b"", b"sh: 1: sudo: not found\n"), "no sudo"),
    ],
)
def test_a_host_where_sudo_does_not_work_says_what_to_do(answer: Completed, refusal: str) -> None:
    with pytest.raises(ApplyFailed, match=refusal) as failed:
        run_as_root(Answering(answer), ["id"], timeout=1)
    assert failed.value.hint


def test_what_the_command_itself_answers_is_left_alone() -> None:
    answer = Completed(1, b"{}", b"fleetbox-host: no\n")
    assert run_as_root(Answering(answer), ["id"], timeout=1) is answer
