"""The push account on real hosts: it can push, and what works on a careless account fails on it."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetbox.hostside import paths
from tests.integration.push.attacks import CODE, IN_THE_TABLE, KINDS, LOGINS, SAY, STATUS, refusal
from tests.integration.push.conftest import BIN, REPO
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

BASE, OFFLINE = (str(REPO / f"policies/{name}.yml") for name in ("base", "offline"))
Fleetbox = Callable[..., "subprocess.CompletedProcess[str]"]


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
def guarded(lab: Lab, launcher: Path, folder: Path, suite: str) -> Iterator[Guarded]:
    with provisioned(lab, launcher, HostSpec.of(f"guarded-{suite}", suite=suite)) as [box]:
        made = Guarded(lab, box, new_key(folder))
        made.host.put(paths.HOST_CONFIG, b'{"workload_user": "dev"}\n')
        run = made.role(folder)
        assert run.ended_well(made.host), run.output
        made.make_careless()
        yield made


@pytest.fixture(scope="module")
def host(lab: Lab, launcher: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded(lab, launcher, tmp_path_factory.mktemp("keys"), "bookworm") as made:
        yield made


@pytest.fixture
def with_layers(host: Guarded) -> Iterator[Any]:
    """Take layers away until the end of the test."""
    keys = host.host.get(paths.PUSH_KEYS)
    drop_in = host.host.get(DROP_IN)

    def apply(layers: Layers) -> None:
        if not layers.drop_in:
            host.sh(f"rm {DROP_IN}")
            host.reload_sshd()
        if not layers.options:
            host.host.put(paths.PUSH_KEYS, host.public.encode() + b"\n")
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


@pytest.fixture
def fleetbox(host: Guarded, tmp_path: Path) -> Fleetbox:
    """The command, logging in as the push account."""
    inventory = yaml.safe_load(host.lab.inventory.read_text())
    given = {"ansible_user": PUSH, "ansible_ssh_private_key_file": str(host.key)}
    inventory["all"]["hosts"] = {host.name: {**inventory["all"]["hosts"][host.name], **given}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))

    def run(*argv: str) -> "subprocess.CompletedProcess[str]":
        return host.lab.controller(
            [str(BIN / "python"), "-m", "fleetbox.cli", *argv],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=tmp_path,
            env={
                "FLEETBOX_INVENTORY": str(tmp_path / "hosts.yml"),
                "FLEETBOX_STATE_DIR": str(tmp_path / "state"),
            },
        )

    return run


def test_push_check_verify_rollback_and_doctor_work_with_it(host: Guarded, fleetbox: Fleetbox) -> None:
    def outcome(*argv: str) -> tuple[str, int | None]:
        done = fleetbox(*argv, "--json")
        [answer] = json.loads(done.stdout)["hosts"]
        return answer["outcome"], answer["generation"]

    assert outcome("push-policy", BASE, "--check") == ("would_activate", None)
    done = fleetbox("push-policy", BASE, "-y", "--json")
    answer = json.loads(done.stdout)
    assert [(one["outcome"], one["generation"]) for one in answer["hosts"]] == [("activated", 1)], answer
    [seen] = answer["conformance"]["hosts"]
    statuses = {result["check_id"]: result["status"] for result in seen["results"]}
    assert (statuses["FBX-SBX-001"], statuses["FBX-POL-001"]) == ("pass", "pass")
    assert "fail" not in statuses.values()
    assert outcome("push-policy", OFFLINE, "-y", "--no-verify") == ("activated", 2)
    assert outcome("push-policy", OFFLINE, "--check") == ("unchanged", 2)
    rolled_back, generation = outcome("rollback", "-y")
    assert (rolled_back, (generation or 0) > 2) == ("activated", True)
    verified = json.loads(fleetbox("verify", "--policy", BASE, "--json").stdout)
    assert [one["state"] for one in verified["hosts"]] == ["answered"]
    doctor = fleetbox("doctor", host.name)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert "none: this machine can sandbox" in doctor.stdout
    assert f"generation {generation}" in doctor.stdout


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


def test_what_does_not_work_with_it_says_so(host: Guarded, fleetbox: Fleetbox) -> None:
    for words in ((), ("--", "id")):
        done = fleetbox("why", host.name, *words)
        assert (done.returncode, done.stdout) == (5, "")
        assert "the push account may not run" in done.stderr
        assert "it shows what other accounts ran" in done.stderr
        assert "docs/push-account.md" in done.stderr


def test_a_host_without_the_program_is_told_apart(host: Guarded, fleetbox: Fleetbox) -> None:
    host.sh(f"mv {PROGRAM} {PROGRAM}.away")
    try:
        done = fleetbox("push-policy", BASE, "-y", "--json")
        doctor = fleetbox("doctor", host.name)
    finally:
        host.sh(f"mv {PROGRAM}.away {PROGRAM}")
    [answer] = json.loads(done.stdout)["hosts"]
    assert (done.returncode, answer["reason"]) == (5, "not_provisioned")
    assert "site.yml" in answer["hint"]
    assert "fleetbox-host is not installed" in doctor.stdout


# -- attacks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", LOGINS)
def test_an_attack_succeeds_on_a_careless_account_and_fails_on_this_one(host: Guarded, attack: str) -> None:
    assert LOGINS[attack](host, CARELESS), "the attack itself does not work"
    assert not LOGINS[attack](host, PUSH)


@pytest.mark.parametrize("suite", ["bullseye", "trixie"])
def test_older_and_newer_hosts_hold_as_well(lab: Lab, launcher: Path, tmp_path: Path, suite: str) -> None:
    with guarded(lab, launcher, tmp_path, suite) as other:
        assert other.ssh(PUSH, STATUS).returncode == 0
        assert [name for name in KINDS if not LOGINS[name](other, CARELESS)] == []
        assert [name for name in KINDS if LOGINS[name](other, PUSH)] == []


def test_a_command_that_no_environment_holds_is_not_run(host: Guarded) -> None:
    words = [SAY, "#", *["x" * 50_000] * 4]
    argv = host.argv("ssh", "-l", PUSH, host.name, *words)
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
    assert done.returncode != 0
    assert b"owned" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "layers", [WITHOUT_DROP_IN, WITHOUT_OPTIONS, WITHOUT_SHELL], ids=lambda layers: layers.name
)
def test_it_holds_without_any_one_of_the_layers(host: Guarded, with_layers: Any, layers: Layers) -> None:
    with_layers(layers)
    assert host.ssh(PUSH, STATUS).returncode == 0, "a push must still work"
    assert [name for name in KINDS if LOGINS[name](host, PUSH)] == []


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
