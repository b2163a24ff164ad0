"""The numbers are the kernel's: compared with what a C preprocessor finds in its headers."""

import re
import subprocess
import sys
from collections.abc import Sequence

import pytest

from fleetbox.targets.bubblewrap import syscalls
from fleetbox.targets.bubblewrap.syscalls import Arch

EVERY = syscalls.ALWAYS + syscalls.UNLESS_NESTED + syscalls.LEFT_ALONE
ALONE = (syscalls.CHANGING, syscalls.ATTRIBUTES, *syscalls.SHARED)
CALLS = {
    **{call: numbers for group in ALONE for call, numbers in group.calls.items()},
    **{call: numbers for group in syscalls.ALWAYS for call, numbers in group.calls.items()},
    **{call: numbers for group in syscalls.UNLESS_NESTED for call, numbers in group.calls.items()},
    **{call: numbers for group in syscalls.LEFT_ALONE for call, numbers in group.calls.items()},
    **syscalls.BY_ARGUMENT,
}


def numbers_in_headers(compiler: Sequence[str]) -> dict[str, int]:
    """Every __NR_ name the headers know, by its evaluated number."""
    source = "#include <sys/syscall.h>\n" + "".join(f"=={call}== __NR_{call}\n" for call in CALLS)
    done = subprocess.run(
        [*compiler, "-E", "-P", "-x", "c", "-"], input=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = re.findall(r"==(\w+)==\s+([0-9 ()+]+)$", done.stdout, re.MULTILINE)
    return {call: sum(map(int, re.findall(r"[0-9]+", number))) for call, number in found}


@pytest.mark.parametrize("arch", Arch)
def test_the_numbers_are_those_of_the_kernels_headers(arch: Arch) -> None:
    pytest.importorskip("ziglang", reason="needs ziglang, of the extra `build`")
    known = numbers_in_headers([sys.executable, "-m", "ziglang", "cc", "-target", f"{arch}-linux-musl"])
    here = [call for call, numbers in CALLS.items() if numbers.on(arch) is not None]
    assert len(known) > len(here) - 20, "the headers did not say much"
    ours = {call: numbers.on(arch) for call, numbers in CALLS.items()}
    # Headers can be older than a call, never of another opinion.
    assert {call: number for call, number in ours.items() if call in known} == known
    assert {call for call, number in ours.items() if number is None} & set(known) == set()


def test_no_call_is_listed_twice_and_no_number_either() -> None:
    listed = [call for group in EVERY for call in group.calls]
    assert len(listed) == len(set(listed))
    for arch in Arch:
        numbers = [n for call in CALLS.values() if (n := call.on(arch)) is not None]
        assert len(numbers) == len(set(numbers))
