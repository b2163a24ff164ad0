"""Which ssh options are taken, and which are refused by name."""

from pathlib import Path

import pytest

from fleetbox.errors import UsageError
from fleetbox.transport.ssh_options import Login, accepted_words, resolve


def _resolve(config: str, tmp_path: Path, *words: str, address: str = "h1"):
    path = tmp_path / "config"
    path.write_text(config)
    return resolve(Login(address, words=("-F", str(path), *words)))


def test_include_and_match_hold_as_ssh_reads_them(tmp_path: Path) -> None:
    (tmp_path / "more").write_text("Match host h1.example user deploy\n Port 2222\n HostKeyAlias alias\n")
    options = _resolve(
        f"Host h1\n HostName h1.example\n User deploy\n IdentityFile ~/k_%h_%%\nInclude {tmp_path}/more\n",
        tmp_path,
    )
    assert (options.hostname, options.port, options.user) == ("h1.example", 2222, "deploy")
    assert options.known_as == "alias"
    assert options.identity_files[0].name == "k_h1.example_%"


@pytest.mark.parametrize(
    "line",
    ["ProxyCommand nc %h %p", "KnownHostsCommand /bin/true", "BindAddress 10.0.0.1", "RemoteCommand id"],
)
def test_an_option_that_cannot_be_honoured_is_refused_by_name(line: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"ssh option {line.split(maxsplit=1)[0]} cannot"):
        _resolve(f"Host h1\n {line}\n", tmp_path)


def test_what_ssh_itself_refuses_is_said_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Bad configuration option: nonsense"):
        _resolve("Nonsense yes\n", tmp_path)


@pytest.mark.parametrize("address", ["-V", "-oUser=root", "-F/etc/hostname"])
def test_an_address_cannot_become_an_option_of_ssh(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="ssh refuses its options"):
        _resolve("", tmp_path, address=address)


def test_the_inventory_may_give_options_joined_and_apart() -> None:
    words = ("-o", "Port=1", "-oUser=x", "-F", "f", "-i", "k", "-Jhop")
    assert accepted_words(words, "h1") == ("-o", "Port=1", "-o", "User=x", "-F", "f", "-i", "k", "-J", "hop")


@pytest.mark.parametrize("words", [("-L", "1:2:3"), ("-A",), ("-v",), ("host",), ("-o",)])
def test_any_other_ssh_argument_of_the_inventory_is_refused_by_name(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=words[0]):
        accepted_words(words, "h1")


def test_a_machine_without_ssh_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="ssh is not installed"):
        resolve(Login("h1"))
