"""What a workload or another account may have written for the launcher to read: whole, cut off and damaged.

Its parsers read each input of launcher/fuzz/corpus under the address and undefined behaviour sanitizers; what
they make of it is checked in launcher/fuzz/NAME.c. `make fuzz` looks for more inputs.
"""

import subprocess
import sys

import pytest

from launcher.sanitize import CORPORA, TARGETS
from tests.conftest import REPO


def replay(name: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "launcher/sanitize.py", "replay", name]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", TARGETS)
def test_no_parser_reads_or_writes_where_it_must_not(name: str) -> None:
    done = replay(name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{name}: {len(list((CORPORA / name).iterdir()))} inputs, clean\n"


def test_the_sanitizers_notice_a_byte_that_is_read_beyond_a_piece_of_memory() -> None:
    done = replay("beyond")
    assert done.returncode == 1
    assert "AddressSanitizer: use-after-poison" in done.stderr
