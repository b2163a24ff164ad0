"""The ssh transport against a real sshd: who is trusted, what is refused, what a hostile host may do."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetbox.errors import ApplyFailed, TrustRefused, Unreachable, UsageError
from fleetbox.transport import connect, run_as_root
from fleetbox.transport.interface import STDOUT_LIMIT
from tests.support.sshd import Endpoint, Server, free_port, generate_key, serve


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serve(tmp_path / "sshd") as server:
        yield server


def _say(endpoint: Endpoint, *argv: str, stdin: bytes = b"") -> bytes:
    transport = connect(endpoint, timeout=10)
    try:
        done = transport.run(argv or ("echo", "hello"), stdin=stdin, timeout=20)
    finally:
        transport.close()
    assert done.rc == 0, done.words
    return done.stdout


def test_a_command_runs_with_its_words_unsplit_and_its_status_and_streams_apart(shared: Server) -> None:
    transport = connect(shared.endpoint())
    done = transport.run(
        ["sh", "-c", 'printf "%s" "$1"; echo why >&2; exit 7', "sh", "a  b;$(id)'\n"], timeout=10
    )
    assert (done.rc, done.stdout, done.words) == (7, b"a  b;$(id)'\n", "why")
    assert transport.local_address == "127.0.0.1"
    transport.close()


def test_a_bundle_larger_than_any_window_goes_through_while_the_host_writes_back(shared: Server) -> None:
    data = os.urandom(6 * 1024 * 1024)
    assert _say(shared.endpoint(), "cat", stdin=data) == data


def test_a_command_that_does_not_read_its_input_ends_all_the_same(shared: Server) -> None:
    assert _say(shared.endpoint(), "echo", "done", stdin=bytes(4 * 1024 * 1024)) == b"done\n"


def test_another_host_key_is_refused_with_the_fingerprint_and_never_recorded(server: Server) -> None:
    other = generate_key(server.folder / "other")
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other}")
    before = server.known_hosts.read_bytes()
    with pytest.raises(TrustRefused, match=r"is ssh-ed25519 SHA256:\S{43}, not the one in .*known_hosts:1"):
        connect(server.endpoint())
    assert server.known_hosts.read_bytes() == before


def test_an_unknown_host_key_is_refused_whatever_the_options_say(server: Server) -> None:
    server.known_hosts.write_text("")
    with pytest.raises(TrustRefused, match="is not in known_hosts"):
        connect(server.endpoint("StrictHostKeyChecking=no"))
    assert server.known_hosts.read_bytes() == b""


def test_a_host_that_has_no_key_of_the_known_type_is_refused_as_untrusted(server: Server) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", server.folder / "ecdsa"], check=True)
    key = (server.folder / "ecdsa.pub").read_text()
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {key}")
    with pytest.raises(TrustRefused, match="no host key of the known types"):
        connect(server.endpoint())


def test_a_revoked_key_is_refused_although_another_line_trusts_it(server: Server) -> None:
    key = (server.folder / "host_key.pub").read_text()
    with server.known_hosts.open("a") as file:
        file.write(f"@revoked * {key}")
    with pytest.raises(TrustRefused, match="is revoked"):
        connect(server.endpoint())


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    generate_key(tmp_path / "ca")
    return tmp_path / "ca"


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["-n", "127.0.0.1"], None),
        (["-n", "other.example"], "it is not for 127.0.0.1"),
        (["-n", "127.0.0.1", "-V", "20200101:20210101"], "not valid at this time"),
    ],
)
def test_a_host_certificate_is_trusted_for_its_names_and_its_time(
    tmp_path: Path, authority: Path, words: list[str], refusal: str | None
) -> None:
    folder = tmp_path / "sshd"
    folder.mkdir()
    generate_key(folder / "host_key")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", authority, "-h", "-I", "h", *words, folder / "host_key.pub"], check=True
    )
    with serve(folder, certificate=folder / "host_key-cert.pub") as server:
        server.known_hosts.write_text(f"@cert-authority * {Path(f'{authority}.pub').read_text()}")
        if refusal is None:
            assert _say(server.endpoint()) == b"hello\n"
        else:
            with pytest.raises(TrustRefused, match=refusal):
                connect(server.endpoint())
        with server.known_hosts.open("a") as file:
            file.write(f"@revoked * {Path(f'{authority}.pub').read_text()}")
        with pytest.raises(TrustRefused):
            connect(server.endpoint())


def test_a_host_that_is_down_is_unreachable(shared: Server) -> None:
    with pytest.raises(Unreachable, match="refused"):
        connect(Endpoint(free_port(), shared.endpoint().ssh_args))


def test_a_host_that_accepts_and_says_nothing_is_unreachable_in_time(shared: Server) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        with pytest.raises(Unreachable):
            connect(Endpoint(silent.getsockname()[1], shared.endpoint().ssh_args), timeout=1)
        assert time.monotonic() - start < 10


def test_a_refused_login_is_unreachable_and_says_how_many_keys_were_tried(shared: Server) -> None:
    with pytest.raises(Unreachable, match=r"the login is refused \(0 keys offered\)"):
        connect(shared.endpoint(identity=False))


def test_a_key_file_with_a_passphrase_is_passed_over_and_named(server: Server) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", server.folder / "id"], check=True
    )
    with pytest.raises(Unreachable) as refused:
        connect(server.endpoint())
    assert "needs a passphrase" in refused.value.hint


def test_a_key_that_only_the_agent_holds_logs_in(server: Server, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", agent], stdout=subprocess.DEVNULL) as process:
        try:
            env = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
            while (
                subprocess.run(["ssh-add", "-l"], env=env, capture_output=True, check=False).returncode == 2
            ):
                time.sleep(0.01)  # it cannot be asked yet; 1 says that it holds no key
            subprocess.run(["ssh-add", "-q", server.folder / "id"], env=env, check=True)
            (server.folder / "id").unlink()
            # The public half stays: with IdentitiesOnly it is what selects the agent's key.
            endpoint = server.endpoint()
            words = tuple(
                w if w != "IdentityAgent=none" else f"IdentityAgent={agent}" for w in endpoint.ssh_args
            )
            assert _say(Endpoint(endpoint.port, words, identity_file=endpoint.identity_file)) == b"hello\n"
        finally:
            process.terminate()


def test_a_jump_checks_the_key_of_each_hop(shared: Server, tmp_path: Path) -> None:
    with serve(tmp_path / "hop") as hop:
        known = tmp_path / "known"
        known.write_text(shared.known_hosts.read_text() + hop.known_hosts.read_text())
        config = tmp_path / "config"
        config.write_text(
            f"Host hop\n HostName 127.0.0.1\n Port {hop.port}\n IdentityFile {hop.folder}/id\n"
            f"Host inner\n HostName 127.0.0.1\n Port {shared.port}\n ProxyJump hop\n"
            f" IdentityFile {shared.folder}/id\n"
            f"Host *\n UserKnownHostsFile {known}\n IdentityAgent none\n"
        )
        endpoint = Endpoint(None, ("-F", str(config)), address="inner")
        assert _say(endpoint) == b"hello\n"
        known.write_text(shared.known_hosts.read_text())
        with pytest.raises(TrustRefused, match=rf"\[127.0.0.1\]:{hop.port} is not in known_hosts"):
            connect(endpoint)


def test_a_jump_that_leads_to_itself_is_refused(shared: Server, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host a\n ProxyJump b\nHost b\n ProxyJump a\n")
    with pytest.raises(UsageError, match="back to itself"):
        connect(Endpoint(None, ("-F", str(config)), address="a"))


def test_a_host_that_never_stops_talking_is_cut_off_at_the_limit(server: Server) -> None:
    server.force("yes")
    transport = connect(server.endpoint())
    with pytest.raises(ApplyFailed, match=f"more than {STDOUT_LIMIT // 1024} KiB"):
        transport.run(["true"], timeout=60)
    transport.close()


def test_a_host_that_floods_stderr_is_cut_off_at_the_limit(server: Server) -> None:
    server.force("yes >&2")
    transport = connect(server.endpoint())
    with pytest.raises(ApplyFailed, match="more than 256 KiB"):
        transport.run(["true"], timeout=60)
    transport.close()


def test_a_command_that_never_ends_fails_in_time_and_says_its_effect_is_unknown(server: Server) -> None:
    server.force("exec sleep 60")
    transport = connect(server.endpoint())
    with pytest.raises(ApplyFailed, match="not known"):
        transport.run(["true"], timeout=1)
    transport.close()


def test_what_a_host_says_carries_no_terminal_sequences(shared: Server) -> None:
    transport = connect(shared.endpoint())
    done = transport.run(["sh", "-c", r"printf '\033]0;owned\007why\n' >&2; exit 1"], timeout=10)
    transport.close()
    assert done.words.isprintable()
    assert "why" in done.words


def test_root_needs_no_sudo(shared: Server) -> None:
    transport = connect(shared.endpoint())
    assert run_as_root(transport, ["id", "-u"], timeout=10).stdout == b"0\n"
    transport.close()
