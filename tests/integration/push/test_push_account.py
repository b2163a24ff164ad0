"""The push account on real hosts: what works on a careless account fails on it, by key or by certificate."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import paths
from tests.integration.push.attacks import CODE, IN_THE_TABLE, KINDS, LOGINS, SAY, STATUS, refusal
from tests.integration.push.certificates import Authority, useless
from tests.integration.push.guarded import (
    CARELESS,
    DROP_IN,
    PREFIX,
    PROGRAM,
    PUSH,
    SUDOERS,
    Guarded,
    new_key,
)
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec
from tests.support.provision import provisioned

pytestmark = pytest.mark.host


@dataclass(frozen=True)
class Layers:
    """Which of what keeps a login in its place is taken away."""

    name: str
    drop_in: bool = True
    options: bool = True
    shell: bool = True


ALL = Layers("all of it")
WITHOUT_DROP_IN = Layers("without sshd's block", drop_in=False)
WITHOUT_OPTIONS = Layers("without the keys' options", options=False)
WITHOUT_SHELL = Layers("without the shell", shell=False)
SHELL_ALONE = Layers("the shell alone", drop_in=False, options=False)
NONE = Layers("nothing", drop_in=False, options=False, shell=False)


@contextmanager
def guarded(lab: Lab, launcher: Path, authority: Authority, folder: Path, suite: str) -> Iterator[Guarded]:
    with provisioned(lab, launcher, HostSpec.of(f"guarded-{suite}", suite=suite)) as [box]:
        made = Guarded(lab, box, new_key(folder))
        made.host.put(paths.HOST_CONFIG, b'{"workload_user": "dev"}\n')
        run = made.role(folder, hostside_push_ca_keys=[authority.public])
        assert run.ended_well(made.host), run.output
        made.make_careless(authority.public)
        yield made


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def host(
    lab: Lab, launcher: Path, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    with guarded(lab, launcher, authority, tmp_path_factory.mktemp("keys"), "bookworm") as made:
        yield made


@pytest.fixture(scope="module")
def certified(host: Guarded, authority: Authority) -> Guarded:
    """By a certificate that permits all that one can permit, as ssh-keygen makes them."""
    return authority.certified(host, "permissive")


@pytest.fixture
def with_layers(host: Guarded, authority: Authority) -> Iterator[Any]:
    """Take layers away until the end of the test."""
    keys = host.host.get(paths.PUSH_KEYS)
    drop_in = host.host.get(DROP_IN)

    def apply(layers: Layers) -> None:
        if not layers.drop_in:
            host.sh(f"rm {DROP_IN}")
            host.reload_sshd()
        if not layers.options:
            host.host.put(paths.PUSH_KEYS, f"{host.public}\ncert-authority {authority.public}\n".encode())
        if not layers.shell:
            host.sh(f"usermod --shell /bin/sh {PUSH}")

    yield apply
    host.sh(f"usermod --shell {paths.PUSH_SHELL} {PUSH}")
    host.host.put(paths.PUSH_KEYS, keys)
    if host.box.run("test", "-e", DROP_IN).returncode != 0:
        host.host.put(DROP_IN, drop_in)
        host.reload_sshd()


# -- what it is for -------------------------------------------------------------------------------------


def test_it_may_ask_what_a_push_asks(host: Guarded) -> None:
    for prefix in ("", f"{PREFIX} "):
        done = host.ssh(PUSH, f"{prefix}{PROGRAM} status")
        assert (done.returncode, json.loads(done.stdout)["generations"]) == (0, [])
    gates = json.loads(host.ssh(PUSH, f"{PROGRAM} facts").stdout)["gates"]
    assert gates == []


def test_what_is_refused_is_named_and_leaves_2(host: Guarded) -> None:
    done = host.ssh(PUSH, "id; cat /etc/shadow")
    assert (done.returncode, refusal(done)) == (2, "not_allowed")
    assert "id; cat /etc/shadow" in json.loads(done.stdout)["error"]["message"]
    assert b"root:" not in done.stdout + done.stderr
    assert refusal(host.ssh(PUSH, "")) == "not_allowed"


def test_checks_run_as_the_configured_user_and_never_as_the_account(host: Guarded) -> None:
    asked = b'{"checks": [], "user": "root"}'
    assert refusal(host.ssh(PUSH, f"{PROGRAM} probe", data=asked)) == "not_allowed"
    host.sh(f"mv {paths.HOST_CONFIG} {paths.HOST_CONFIG}.away")
    try:
        answer = json.loads(host.ssh(PUSH, f"{PROGRAM} probe", data=b"{}").stdout)
    finally:
        host.sh(f"mv {paths.HOST_CONFIG}.away {paths.HOST_CONFIG}")
    assert answer["host"]["user"] == ""
    assert json.loads(host.ssh(PUSH, f"{PROGRAM} probe", data=b"{}").stdout)["host"]["user"] == "dev"


# -- attacks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", LOGINS)
def test_an_attack_succeeds_on_a_careless_account_and_fails_on_this_one(host: Guarded, attack: str) -> None:
    assert LOGINS[attack](host, CARELESS), "the attack itself does not work"
    assert not LOGINS[attack](host, PUSH)


@pytest.mark.parametrize("suite", ["bullseye", "trixie"])
def test_older_and_newer_hosts_hold_as_well(
    lab: Lab, launcher: Path, authority: Authority, tmp_path: Path, suite: str
) -> None:
    with guarded(lab, launcher, authority, tmp_path, suite) as by_key:
        for way in (by_key, authority.certified(by_key, f"permissive-{suite}")):
            assert way.ssh(PUSH, STATUS).returncode == 0
            assert [name for name in KINDS if not LOGINS[name](way, CARELESS)] == []
            assert [name for name in KINDS if LOGINS[name](way, PUSH)] == []
        assert lets_in(useless(authority, by_key, suite), PUSH) == []


# -- by certificate ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", KINDS)
def test_a_certificate_that_permits_everything_permits_no_more_than_a_key(
    certified: Guarded, attack: str
) -> None:
    assert LOGINS[attack](certified, CARELESS), "the attack itself does not work"
    assert not LOGINS[attack](certified, PUSH)


def test_a_good_certificate_is_all_that_the_control_machine_needs(certified: Guarded, tmp_path: Path) -> None:
    doctor = certified.fleetbox(tmp_path, "doctor", certified.name)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    Path(f"{certified.key}-cert.pub").rename(tmp_path / "away")
    try:
        assert certified.fleetbox(tmp_path, "doctor", certified.name).returncode == 4
    finally:
        (tmp_path / "away").rename(f"{certified.key}-cert.pub")


def test_a_certificate_with_one_thing_wrong_lets_nobody_in(host: Guarded, authority: Authority) -> None:
    ways = useless(authority, host, "bookworm")
    assert lets_in(ways, CARELESS) == ["with a command of its own", "of nobody"], "that careless it is"
    assert lets_in(ways, PUSH) == []


def lets_in(ways: dict[str, Guarded], account: str) -> list[str]:
    """Which of them start anything at all."""
    answers = {name: way.ssh(account, STATUS).stdout for name, way in ways.items()}
    return [name for name, answer in answers.items() if answer]


def test_an_authority_of_the_host_s_people_is_none_of_the_account_s(
    host: Guarded, authority: Authority, with_layers: Any
) -> None:
    people = authority.another("people")
    staff = people.certified(host, "staff")
    host.sh("cat > /etc/ssh/staff.pub", data=people.public.encode())
    host.sh("echo TrustedUserCAKeys /etc/ssh/staff.pub > /etc/ssh/sshd_config.d/50-staff.conf")
    host.reload_sshd()
    try:
        assert staff.ssh(CARELESS, "id").stdout.startswith(b"uid=")
        assert staff.ssh(PUSH, STATUS).returncode == 255
        with_layers(WITHOUT_DROP_IN)
        # Without a forced command the shell is asked for nothing, but it does not keep from forwarding.
        assert refusal(staff.ssh(PUSH, STATUS)) == "not_allowed"
        assert LOGINS["forward to the host"](staff, PUSH), "sshd's block is what keeps it out"
    finally:
        host.sh("rm /etc/ssh/sshd_config.d/50-staff.conf /etc/ssh/staff.pub")
        host.reload_sshd()


def test_a_certificate_that_the_host_revokes_lets_nobody_in(
    host: Guarded, certified: Guarded, authority: Authority
) -> None:
    stolen = authority.certified(host, "stolen")
    assert stolen.ssh(PUSH, STATUS).returncode == 0
    host.sh("cat > /etc/ssh/revoked", data=Path(f"{stolen.key}.pub").read_bytes())
    host.sh("echo RevokedKeys /etc/ssh/revoked > /etc/ssh/sshd_config.d/50-revoked.conf")
    host.reload_sshd()
    try:
        assert [way.ssh(PUSH, STATUS).returncode for way in (stolen, certified)] == [255, 0]
    finally:
        host.sh("rm /etc/ssh/sshd_config.d/50-revoked.conf /etc/ssh/revoked")
        host.reload_sshd()


# -- layers -----------------------------------------------------------------------------------------------


def test_a_command_that_no_environment_holds_is_not_run(host: Guarded) -> None:
    words = [SAY, "#", *["x" * 50_000] * 4]
    argv = host.argv("ssh", "-l", PUSH, host.name, *words)
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
    assert done.returncode != 0
    assert b"owned" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "layers", [WITHOUT_DROP_IN, WITHOUT_OPTIONS, WITHOUT_SHELL], ids=lambda layers: layers.name
)
def test_it_holds_without_any_one_of_the_layers(
    host: Guarded, certified: Guarded, with_layers: Any, layers: Layers
) -> None:
    with_layers(layers)
    for way in (host, certified):
        assert way.ssh(PUSH, STATUS).returncode == 0, "a push must still work"
        assert [name for name in KINDS if LOGINS[name](way, PUSH)] == []


def test_the_shell_alone_stops_commands_and_not_forwarding(host: Guarded, with_layers: Any) -> None:
    with_layers(SHELL_ALONE)
    worked = {name for name in KINDS if LOGINS[name](host, PUSH)}
    assert {"forward to the host", "forward from a port", "terminal", "X11", "agent"} <= worked
    assert worked.isdisjoint({"id", "a shell", "scp", "semicolon", *IN_THE_TABLE})


def test_without_all_of_them_only_root_s_side_is_left(host: Guarded, with_layers: Any) -> None:
    """And that holds: sudo starts one command, and its table has no `install`."""
    with_layers(NONE)
    worked = {name for name in KINDS if LOGINS[name](host, PUSH)}
    # Whether there is an agent shows only while a command waits, and sudo lets none of these start.
    assert worked == set(KINDS) - {*IN_THE_TABLE, "agent"}
    assert worked.isdisjoint(IN_THE_TABLE)
    forced = f"SSH_ORIGINAL_COMMAND='{PROGRAM} install' sudo -n -- {PROGRAM} forced"
    assert refusal(host.ssh(PUSH, forced)) == "not_allowed"


@pytest.mark.parametrize("what", CODE)
def test_code_that_runs_as_the_account_gains_nothing(host: Guarded, what: str) -> None:
    undo = "rm -rf /home/careless/.profile /home/careless/.config /home/careless/.pam_environment"
    if "sudo" not in what or "verb itself" in what:
        assert host.code_as(CARELESS, CODE[what]), "the attack itself does not work"
    assert not host.code_as(PUSH, CODE[what])
    host.sh(f"{undo}; cd /home/careless; [ ! -e .ssh2 ] || mv .ssh2 .ssh; rm -f .ssh/rc .ssh/environment")


def test_sudo_gives_it_one_command_as_root_and_one_variable(host: Guarded) -> None:
    forced = f"sudo -n {{}} -- {PROGRAM} forced"
    environment = f"SSH_ORIGINAL_COMMAND='{PROGRAM} status' LD_PRELOAD=/x PYTHONPATH=/x LC_ALL=x EVIL=x"
    host.sh(
        f"mv {PROGRAM} {PROGRAM}.away; printf '#!/bin/sh\\nenv >/tmp/seen\\n' >{PROGRAM}; chmod 755 {PROGRAM}"
    )
    try:
        assert host.code_as(PUSH, f"export {environment}; {forced.format('')}")
        seen = host.sh("cat /tmp/seen; rm /tmp/seen")
        for options in ("-E", "-u dev", "-g dev", "-s", "-i", "EVIL=x", "-D /tmp"):
            assert not host.code_as(PUSH, f"export {environment}; {forced.format(options)}"), options
        for command in ("id", "/bin/sh", f"{PROGRAM}", f"{PROGRAM} forced x", "-e /etc/passwd", "visudo"):
            assert not host.code_as(PUSH, f"export {environment}; sudo -n {command}"), command
        assert host.sh("ls /tmp/seen 2>/dev/null || :") == ""
    finally:
        host.sh(f"mv {PROGRAM}.away {PROGRAM}")
    assert f"SSH_ORIGINAL_COMMAND={PROGRAM} status\n" in seen
    for name in ("LD_PRELOAD", "PYTHONPATH", "LC_ALL", "EVIL"):
        assert f"{name}=" not in seen


def test_nothing_of_it_is_the_account_s(host: Guarded) -> None:
    files = [paths.PUSH_SHELL, paths.PUSH_HOME, paths.PUSH_KEYS, DROP_IN, SUDOERS, f"{paths.PUSH_HOME}/.ssh"]
    owned = host.sh(f"stat -c '%U:%G %a' {' '.join(files)}").split("\n")
    assert owned[:-1] == [
        "root:root 755",
        "root:root 755",
        "root:root 644",
        "root:root 644",
        "root:root 440",
        "root:root 755",
    ]
    assert host.sh(f"find / -xdev -user {PUSH} -o -xdev -group {PUSH} | grep -v ^/proc || :") == ""
    assert host.sh(f"getent shadow {PUSH} | cut -d: -f2").strip() == "*"


# What a syslog daemon is to programs; it ends with its input.
LISTENER = """
import os, select, socket
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind("/dev/log")
os.chmod("/dev/log", 0o666)
print("ready", flush=True)
with open("/tmp/syslog", "wb", buffering=0) as log:
    while server in select.select([0, server], [], [])[0]:
        log.write(server.recv(65536) + b"\\n")
"""


def test_what_is_asked_is_logged_with_its_refusal(host: Guarded) -> None:
    with host.box.meanwhile("python3", "-c", LISTENER):
        host.ssh(PUSH, "cat /etc/shadow\n\x1b[2J")
        host.ssh(PUSH, f"{PROGRAM} confirm 1 0123456789abcdef0123456789abcdef")
    log = host.sh("cat /tmp/syslog; rm -f /dev/log /tmp/syslog")
    assert "refused: the push account may not run: cat /etc/shadow\\n\\x1b[2J" in log
    assert "push account: confirm\n" in log.replace("\0", "")
    assert "0123456789abcdef" not in log
