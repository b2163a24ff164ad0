"""Role hostside and the push account: made once, never somebody else's, taken back whole."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fleetbox.hostside import paths
from tests.integration.roles.playbooks import REPO, Run, book, play
from tests.support.hosts.fixtures import MakeHost
from tests.support.hosts.host import Host
from tests.support.hosts.identity import make_key
from tests.support.hosts.lab import Lab

pytestmark = pytest.mark.host

ACCOUNT = "fleetbox-push"
DROP_IN = "/etc/ssh/sshd_config.d/10-fleetbox-push.conf"
SUDOERS = "/etc/sudoers.d/fleetbox-push"
STATUS = f"{paths.HOST_PROGRAM} status"
ROLE: dict[str, object] = {"ansible.builtin.include_role": {"name": "hostside"}}


class Role:
    """Role hostside on one host, by default with an account for one key."""

    def __init__(self, lab: Lab, host: Host, folder: Path) -> None:
        self.lab, self.host, self.folder = lab, host, folder
        make_key(folder / "push")
        self.key = folder / "push"

    @property
    def public(self) -> str:
        return Path(f"{self.key}.pub").read_text().strip()

    def run(self, *options: str, **variables: object) -> Run:
        given: dict[str, object] = {"hostside_push_account": ACCOUNT, "hostside_push_keys": [self.public]}
        return play(self.lab, [self.host], book(self.folder, ROLE, **{**given, **variables}), *options)

    def changed(self, *options: str, **variables: object) -> int:
        run = self.run(*options, **variables)
        assert run.ended_well(self.host), run.output
        return run.recap[self.host.name]["changed"]

    def refused(self, **variables: object) -> str:
        run = self.run(**variables)
        assert not run.ended_well(self.host)
        assert not self.logs_in(), "nobody may get in after a failure"
        return run.words(self.host)

    def logs_in(self, account: str = ACCOUNT, command: str = STATUS) -> bool:
        """Whether the key starts the host program."""
        options = ["-F", str(self.lab.ssh_config), "-o", f"IdentityFile={self.key}", "-l", account]
        argv = self.lab.controller_argv(["ssh", *options, self.host.name, command])
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
        return b'"generations"' in done.stdout

    def has(self, *paths: str) -> list[bool]:
        return [self.host.exec(["test", "-e", path], check=False).returncode == 0 for path in paths]

    def accounts(self) -> list[str]:
        return [line.split(":")[0] for line in self.host.get("/etc/passwd").decode().splitlines()]


@pytest.fixture
def role(lab: Lab, make_host: MakeHost, tmp_path: Path) -> Role:
    return Role(lab, make_host(), tmp_path)


def test_it_is_made_once_and_taken_back_when_it_is_no_longer_asked_for(role: Role) -> None:
    assert role.changed("--check") > 0
    assert role.has(paths.PREFIX, DROP_IN, SUDOERS) == [False, False, False]
    assert role.changed() > 0
    assert role.logs_in()
    assert (role.changed(), role.changed("--check")) == (0, 0)
    before = role.accounts()
    assert role.changed(hostside_push_account="pusher") > 0
    assert (role.logs_in("pusher"), role.logs_in(ACCOUNT)) == (True, False)
    assert (ACCOUNT in before, ACCOUNT in role.accounts()) == (True, False)
    assert role.changed(hostside_push_account="") > 0
    assert not role.logs_in("pusher")
    assert "pusher" not in role.accounts()
    assert role.has(DROP_IN, SUDOERS, paths.PUSH_HOME, paths.PUSH_SHELL) == [False] * 4
    assert role.changed(hostside_push_account="") == 0
    assert role.has(paths.HOST_PROGRAM) == [True]


def test_uninstalling_leaves_nothing_of_it(role: Role) -> None:
    role.changed()
    undo = ("playbooks/uninstall.yml", "--tags", "hostside")
    run = play(role.lab, [role.host], str(REPO / undo[0]), *undo[1:])
    assert run.ended_well(role.host), run.output
    assert not role.logs_in()
    left = [one.path for one in role.host.overlay_diff() if "push" in one.path]
    assert left == []
    assert ACCOUNT not in role.accounts()
    again = play(role.lab, [role.host], str(REPO / undo[0]), *undo[1:])
    assert again.recap[role.host.name]["changed"] == 0


def test_only_a_new_account_and_whole_public_keys_are_taken(role: Role) -> None:
    shell = role.host.exec(["getent", "passwd", "dev"]).stdout
    assert "did not make" in role.refused(hostside_push_account="dev")
    assert role.host.exec(["getent", "passwd", "dev"]).stdout == shell
    private = role.key.read_text()
    for key in (private, f'command="/bin/sh" {role.public}', f"{role.public}\n{role.public}"):
        said = role.refused(hostside_push_keys=[key])
        assert "public keys" in said
        assert "PRIVATE KEY" not in said
    assert "public keys" in role.refused(hostside_push_keys=[])
    assert "public keys" in role.refused(hostside_push_ca_keys=[f'command="/bin/sh" {role.public}'])
    for principal in ("a,b", 'x",command="/bin/sh'):
        said = role.refused(hostside_push_ca_keys=[role.public], hostside_push_principals=[principal])
        assert "hostside_push_principals" in said
    for name in ("root", "a b"):
        assert "name of an account" in role.refused(hostside_push_account=name)
    assert role.has(DROP_IN, SUDOERS, paths.PUSH_HOME) == [False, False, False]


def test_certificates_alone_may_let_in_and_only_those_that_name_a_principal(role: Role) -> None:
    authority = role.folder / "authority"
    make_key(authority)
    public = Path(f"{authority}.pub").read_text().strip()
    given: dict[str, object] = {"hostside_push_keys": [], "hostside_push_ca_keys": [public]}
    sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "control", "-V", "-5m:+1h"]

    def logs_in(*named: str) -> bool:
        subprocess.run([*sign, *named, f"{role.key}.pub"], check=True)
        return role.logs_in()

    assert role.changed(**given) > 0
    assert [logs_in(*named) for named in (["-n", ACCOUNT], ["-n", "fleet"], [])] == [True, False, False]
    assert role.changed(**given) == 0
    assert role.changed(**given, hostside_push_principals=["fleet", "spare"]) > 0
    assert [logs_in("-n", name) for name in ("spare", "fleet", ACCOUNT)] == [True, True, False]
    Path(f"{role.key}-cert.pub").unlink()
    assert not role.logs_in()


def test_where_sshd_is_told_something_else_first_it_is_refused(role: Role) -> None:
    role.host.put("/etc/ssh/sshd_config.d/00-others.conf", b"Match User *\n    ForceCommand /bin/true\n")
    said = role.refused()
    assert f"something else than forcecommand {paths.PUSH_SHELL}" in said
    role.host.exec(["rm", "/etc/ssh/sshd_config.d/00-others.conf"])
    assert role.changed() > 0
    assert role.logs_in()


def test_where_sshd_reads_no_folder_the_keys_and_the_shell_hold_alone(role: Role) -> None:
    role.host.exec(["sed", "-i", "/^Include/d", "/etc/ssh/sshd_config"])
    assert role.changed() > 0
    assert role.has(DROP_IN) == [False]
    assert role.logs_in()
    assert role.changed() == 0


def test_what_sudo_s_own_check_refuses_is_not_put_in_place(role: Role) -> None:
    role.host.put("/usr/sbin/visudo", b"#!/bin/sh\nexit 1\n", mode=0o755)
    assert "failed to validate" in role.refused()
    assert role.has(SUDOERS, paths.PUSH_KEYS) == [False, False]


def test_systemd_s_sshd_is_told_and_its_journal_has_the_refusals(
    lab: Lab, make_host: MakeHost, tmp_path: Path
) -> None:
    role = Role(lab, make_host(kind="systemd"), tmp_path)
    role.changed()
    assert role.logs_in()
    assert not role.logs_in(command="cat /etc/shadow")
    journal = role.host.exec(["journalctl", "-t", "fleetbox-host", "-o", "cat"]).stdout.decode()
    assert "push account: status\n" in journal
    assert "refused: the push account may not run: cat /etc/shadow\n" in journal
    assert role.changed() == 0
