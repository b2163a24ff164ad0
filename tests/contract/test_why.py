"""The host program repeats the filter's table, which stays on the control machine."""

from fleetbox.hostside import calls
from fleetbox.targets.bubblewrap import syscalls


def test_the_calls_that_why_explains_are_those_that_the_filter_refuses() -> None:
    assert {name for group in syscalls.ALWAYS for name in group.calls} == calls.ALWAYS
    assert {name for group in syscalls.UNLESS_NESTED for name in group.calls} == calls.UNLESS_NESTED
    alone = (syscalls.CHANGING, syscalls.ATTRIBUTES, *syscalls.SHARED)
    assert {name for group in alone for name in group.calls} == calls.ALONE
    assert set(syscalls.BY_ARGUMENT) == calls.BY_ARGUMENT
