"""known_hosts lines as OpenSSH writes and reads them, judged as OpenSSH would or more strictly."""

import subprocess
from pathlib import Path

import pytest

from fleetbox.errors import TrustRefused
from fleetbox.transport.known_hosts import (
    Verdict,
    authorities,
    judge,
    known_types,
    lookup_name,
    parse,
    read_files,
)
from tests.support.sshd import generate_key


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("keys")
    return [" ".join(generate_key(folder / str(n)).split()[:2]) for n in range(2)]


def _blob(key: str) -> bytes:
    [entry] = parse(f"h {key}", "f")
    return entry.blob


@pytest.mark.parametrize(
    ("names", "name", "covered"),
    [
        ("h1", "h1", True),
        ("H1.Example", "h1.example", True),
        ("h1", "h10", False),
        ("h2,h1", "h1", True),
        ("*.example", "h1.example", True),
        ("h?", "h1", True),
        ("*.example,!h1.example", "h1.example", False),
        ("!h1.example,*.example", "h1.example", False),
        ("!h2", "h1", False),
        ("[h1]:2222", "[h1]:2222", True),
        ("[h1]:2222", "h1", False),
        ("[h1]:2222", "1:2222", False),
        ("h1", "[h1]:2222", False),
        ("*", "[h1]:2222", True),
    ],
)
def test_a_line_covers_the_names_that_its_patterns_match(
    keys: list[str], names: str, name: str, covered: bool
) -> None:
    [entry] = parse(f"{names} {keys[0]} a comment", "f")
    assert entry.covers(name) is covered


@pytest.mark.parametrize("name", ["h1.example", "[h1.example]:2222"])
def test_names_that_ssh_keygen_hashed_are_found_and_others_are_not(
    keys: list[str], name: str, tmp_path: Path
) -> None:
    path = tmp_path / "known_hosts"
    path.write_text(f"{name} {keys[0]}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
    [entry] = read_files([path])
    assert entry.names.startswith("|1|")
    assert entry.covers(name)
    assert not entry.covers("h2.example")


def test_port_22_is_the_bare_name() -> None:
    assert (lookup_name("H1", 22), lookup_name("H1", 23)) == ("h1", "[h1]:23")


def test_the_four_verdicts(keys: list[str]) -> None:
    ours, other = keys
    entries = parse(f"# words\n\nh1 {ours}\nh2 {other}\n@revoked h3 {ours}\nh3 {ours}\n", "f")
    blob = _blob(ours)
    assert judge(entries, "h1", "ssh-ed25519", blob) == (Verdict.TRUSTED, "f:3")
    assert judge(entries, "h2", "ssh-ed25519", blob) == (Verdict.CHANGED, "f:4")
    assert judge(entries, "h3", "ssh-ed25519", blob) == (Verdict.REVOKED, "f:5")
    assert judge(entries, "h4", "ssh-ed25519", blob) == (Verdict.UNKNOWN, "")


def test_an_authority_is_no_host_key(keys: list[str]) -> None:
    entries = parse(f"@cert-authority *.example {keys[0]}", "f")
    assert judge(entries, "h1.example", "ssh-ed25519", _blob(keys[0]))[0] is Verdict.UNKNOWN
    assert known_types(entries, "h1.example") == []
    assert [entry.source for entry in authorities(entries, "h1.example")] == ["f:1"]
    assert authorities(entries, "h1.other") == []


@pytest.mark.parametrize(
    "line", ["h1", "h1 ssh-ed25519", "h1 ssh-ed25519 !!!", "h1 ssh-rsa {blob}", "|2|x|y ssh-ed25519 {blob}"]
)
def test_a_line_that_makes_no_sense_trusts_nobody(keys: list[str], line: str) -> None:
    entries = parse(line.format(blob=keys[0].split()[1]), "f")
    assert judge(entries, "h1", "ssh-ed25519", _blob(keys[0]))[0] is Verdict.UNKNOWN


@pytest.mark.parametrize("line", ["@revoked h1 ssh-ed25519 !!!", "@revoked", "@unheard-of h1 {key}"])
def test_a_marked_line_that_cannot_be_read_refuses_everything(keys: list[str], line: str) -> None:
    with pytest.raises(TrustRefused, match="f:2: a marked line that cannot be read"):
        parse(f"h1 {keys[0]}\n{line.format(key=keys[0])}", "f")


def test_an_edited_file_is_read_again(keys: list[str], tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    assert read_files([path]) == []
    path.write_text(f"h1 {keys[0]}\n")
    assert len(read_files([path])) == 1
    path.write_text(f"h1 {keys[0]}\nh1 {keys[1]}\n")
    assert len(read_files([path])) == 2
