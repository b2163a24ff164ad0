"""Host certificates as ssh-keygen makes them: each claim is checked, and one changed byte is one too many."""

import base64
import subprocess
from pathlib import Path

import pytest

from fleetbox.transport.host_certificate import problem
from fleetbox.transport.known_hosts import Entry, parse
from tests.support.sshd import generate_key


def _authority(folder: Path, name: str) -> Entry:
    [entry] = parse(f"@cert-authority * {generate_key(folder / name)}", "f")
    return entry


def _certificate(folder: Path, authority: str, *words: str, host: bool = True) -> bytes:
    generate_key(folder / "host")
    kind = ["-h"] if host else []
    argv = ["ssh-keygen", "-q", "-s", folder / authority, *kind, "-I", "id", *words, folder / "host.pub"]
    subprocess.run(argv, check=True)
    return base64.b64decode((folder / "host-cert.pub").read_text().split()[1])


def test_what_the_authority_signed_for_this_name_is_good(tmp_path: Path) -> None:
    known = _authority(tmp_path, "ca")
    blob = _certificate(tmp_path, "ca", "-n", "h1.example,*.lab")
    assert problem(blob, "h1.example", [known], []) is None
    assert problem(blob, "h7.lab", [known], []) is None
    assert problem(blob, "h2.example", [known], []) == "it is not for h2.example"


def test_every_changed_byte_spoils_it(tmp_path: Path) -> None:
    known = _authority(tmp_path, "ca")
    blob = _certificate(tmp_path, "ca", "-n", "h1")
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= 1
        assert problem(bytes(changed), "h1", [known], []) is not None, position


@pytest.mark.parametrize("length", [0, 1, 4, 40, 200])
def test_a_certificate_that_is_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    known = _authority(tmp_path, "ca")
    assert problem(_certificate(tmp_path, "ca", "-n", "h1")[:length], "h1", [known], []) is not None


def test_another_authority_proves_nothing(tmp_path: Path) -> None:
    known = _authority(tmp_path, "ca")
    _authority(tmp_path, "other")
    blob = _certificate(tmp_path, "other", "-n", "h1")
    assert problem(blob, "h1", [known], []) == "its authority is not in known_hosts"


@pytest.mark.parametrize(
    ("words", "host", "refusal"),
    [
        (["-n", "h1"], False, "it is one for users, not for hosts"),
        ([], True, "it is not for h1"),
        (["-n", "h1", "-V", "20200101:20210101"], True, "it is not valid at this time"),
        (["-n", "h1", "-V", "20990101:20991231"], True, "it is not valid at this time"),
    ],
)
def test_a_certificate_for_something_else_is_refused(
    tmp_path: Path, words: list[str], host: bool, refusal: str
) -> None:
    known = _authority(tmp_path, "ca")
    assert problem(_certificate(tmp_path, "ca", *words, host=host), "h1", [known], []) == refusal


def test_a_revoked_authority_vouches_for_nobody(tmp_path: Path) -> None:
    known = _authority(tmp_path, "ca")
    blob = _certificate(tmp_path, "ca", "-n", "h1")
    assert problem(blob, "h1", [known], [known]) == "its authority is revoked"
