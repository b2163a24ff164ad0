"""A host with a push account, and beside it a careless one: what attacks on the first are tried on as well.

The careless account is what one makes in a hurry: a shell, a plain key, a plain certificate authority, and
sudo for `fleetbox-host *`.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from fleetbox.hostside import paths
from tests.integration.push.conftest import BIN
from tests.integration.roles.playbooks import Run, book, play
from tests.support.hosts.host import Host
from tests.support.hosts.identity import make_key
from tests.support.hosts.lab import Lab
from tests.support.provision import Provisioned

PUSH, CARELESS = "fleetbox-push", "careless"
DROP_IN = "/etc/ssh/sshd_config.d/10-fleetbox-push.conf"
SUDOERS = "/etc/sudoers.d/fleetbox-push"
PREFIX = "env LC_ALL=C sudo -n --"
PROGRAM = paths.HOST_PROGRAM

# X11 is forwarded only where the host has xauth; what it says does not matter.
_CARELESS = f"""
useradd --create-home --shell /bin/sh {CARELESS}
usermod -p '*' {CARELESS}
install -d -o {CARELESS} -g {CARELESS} -m 0700 /home/{CARELESS}/.ssh
cat > /home/{CARELESS}/.ssh/authorized_keys
chown {CARELESS}: /home/{CARELESS}/.ssh/authorized_keys
printf '%s\\n' '{CARELESS} ALL=(root) NOPASSWD: {PROGRAM} *' > /etc/sudoers.d/{CARELESS}
chmod 0440 /etc/sudoers.d/{CARELESS}
printf '#!/bin/sh\\n' > /usr/bin/xauth
chmod 0755 /usr/bin/xauth
"""


@dataclass(frozen=True)
class Guarded:
    """One such host; `key` logs in as both accounts."""

    lab: Lab
    box: Provisioned
    key: Path

    @property
    def host(self) -> Host:
        return self.box.host

    @property
    def name(self) -> str:
        return self.host.name

    def role(self, folder: Path, *options: str, **variables: object) -> Run:
        """Role hostside; by default with the account."""
        given: dict[str, object] = {"hostside_push_account": PUSH, "hostside_push_keys": [self.public]}
        task: dict[str, object] = {"ansible.builtin.include_role": {"name": "hostside"}}
        return play(self.lab, [self.host], book(folder, task, **{**given, **variables}), *options)

    @property
    def public(self) -> str:
        return Path(f"{self.key}.pub").read_text().strip() + " control machine"

    def ssh(
        self, account: str, command: str, *options: str, data: bytes = b"", timeout: float = 30
    ) -> "subprocess.CompletedProcess[bytes]":
        """`command` as one word, as ssh sends it; "" asks for a shell."""
        argv = self.argv("ssh", *options, "-l", account, self.name, *([command] if command else []))
        return subprocess.run(argv, input=data, capture_output=True, check=False, timeout=timeout)

    def argv(self, program: str, *words: str) -> list[str]:
        options = ["-F", str(self.lab.ssh_config), "-o", f"IdentityFile={self.key}"]
        # X11 and what a login would have of it: a display that nobody needs to look at.
        return self.lab.controller_argv(["env", "DISPLAY=:77", program, *options, *words])

    def sh(self, script: str, data: bytes = b"") -> str:
        """As root, past sshd."""
        return self.host.exec(["sh", "-euc", script], data=data).stdout.decode()

    def code_as(self, account: str, script: str) -> bool:
        """Whether a script ends well that somehow came to run as the account."""
        switch = ["setpriv", f"--reuid={account}", f"--regid={account}", "--clear-groups", "--reset-env"]
        return self.host.exec([*switch, "sh", "-euc", script], check=False).returncode == 0

    def fleetbox(self, folder: Path, *argv: str) -> "subprocess.CompletedProcess[str]":
        """The command, logging in as the push account; inventory and, unless another is given, state below
        `folder`.
        """
        inventory = yaml.safe_load(self.lab.inventory.read_text())
        given = {"ansible_user": PUSH, "ansible_ssh_private_key_file": str(self.key)}
        inventory["all"]["hosts"] = {self.name: {**inventory["all"]["hosts"][self.name], **given}}
        (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
        return self.lab.controller(
            [str(BIN / "python"), "-m", "fleetbox.cli", *argv],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env={
                "FLEETBOX_INVENTORY": str(folder / "hosts.yml"),
                "FLEETBOX_STATE_DIR": str(folder / "state"),
            },
        )

    def make_careless(self, authority: str) -> None:
        self.sh(_CARELESS, data=f"{self.public}\ncert-authority {authority}\n".encode())

    def reload_sshd(self) -> None:
        self.sh("kill -HUP $(cat /run/sshd.pid)")
        # It closes its port for a moment.
        for _ in range(200):
            if self.host.ssh(["true"], check=False).returncode == 0:
                return
        raise AssertionError("sshd did not come back")


def new_key(folder: Path) -> Path:
    """A key pair for the control machine."""
    make_key(folder / "push")
    return folder / "push"


Attack = Callable[[Guarded, str], bool]
