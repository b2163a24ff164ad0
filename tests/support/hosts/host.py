"""One running host, as tests hold it.

`ssh` is the front door that everything under test uses. `exec` goes around it as root, for looking and for
breaking things; it passes sshd's seccomp filter by, so a host with userns=EPERM shows that refusal over
`ssh` only.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.support.hosts import network
from tests.support.hosts.changes import LOGIN_RECORDS, Change, overlay_diff
from tests.support.hosts.errors import HostsError
from tests.support.hosts.processes import Process
from tests.support.hosts.spec import HostSpec
from tests.support.hosts.state import HostState, LabState
from tests.support.hosts.warden import ENVIRONMENT

STATE_FOLDER = "/var/lib/fleetbox"

_FILL_BYTES = f"""
import errno
with open("{STATE_FOLDER}/.filled", "ab", buffering=0) as file:
    for size in (1 << 16, 1 << 12, 1):
        try:
            while True: file.write(bytes(size))
        except OSError as error:
            if error.errno != errno.ENOSPC: raise
"""
_FILL_INODES = f"""
import errno, itertools, os
os.makedirs("{STATE_FOLDER}/.filled.d", exist_ok=True)
try:
    for number in itertools.count(): open(f"{STATE_FOLDER}/.filled.d/{{number}}", "x").close()
except OSError as error:
    if error.errno != errno.ENOSPC: raise
"""


@dataclass(frozen=True)
class Host:
    lab: LabState
    spec: HostSpec

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def state(self) -> HostState:
        return self.lab.host(self.name)

    @classmethod
    def load(cls, lab: LabState, state: HostState) -> Host:
        return cls(lab, HostSpec.from_json(json.loads(state.spec.read_text())))

    @property
    def _index(self) -> int:
        return int(self.state.address.read_text())

    @property
    def address(self) -> str:
        return network.address(self._index)

    @property
    def init(self) -> Process:
        """The host's pid 1, by its pid on this machine."""
        process = Process.read(self.state.init)
        if process is None or not process.alive():
            raise HostsError(f"host {self.name} is not up", f"its log is {self.state.log}")
        return process

    def exec(
        self,
        argv: Sequence[str],
        *,
        data: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        check: bool = True,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command as root inside the host, with the host's own environment and nothing of ours."""
        own = ENVIRONMENT | dict(env or {})
        return _run(self.exec_argv(argv), input=data, env=own, timeout=timeout, check=check)

    def exec_argv(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", f"--target={self.init.pid}", "--all", "--wd=/", "--", *argv]

    def ssh(
        self, argv: Sequence[str], *, data: bytes = b"", timeout: float = 60.0, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command as `dev` over ssh, quoted so that the remote shell sees exactly these words."""
        return _run(self.ssh_argv(argv), input=data, timeout=timeout, check=check)

    def ssh_argv(self, argv: Sequence[str]) -> list[str]:
        ssh = ["ssh", "-F", str(self.lab.ssh_config), self.name]
        return network.inside(str(self.lab.netns), [*ssh, *(["--", shlex.join(argv)] if argv else [])])

    def put(self, path: str, data: bytes, *, mode: int = 0o644, owner: str = "root") -> None:
        """Write a file inside the host, with its parent folders."""
        self.exec(["install", "-D", f"--mode={mode:o}", f"--owner={owner}", "/dev/null", path])
        # dd reads the descriptor; /dev/stdin would be opened anew, which root inside may not.
        self.exec(["dd", "status=none", f"of={path}"], data=data)

    def get(self, path: str) -> bytes:
        return self.exec(["cat", path]).stdout

    def link_down(self) -> None:
        """Unplug the host: packets to it vanish, as with a host that lost its power."""
        network.set_link(str(self.lab.netns), self._index, "down")

    def link_up(self) -> None:
        network.set_link(str(self.lab.netns), self._index, "up")

    def fill(self, what: Literal["bytes", "inodes"]) -> None:
        """Use up what is left of the small disk under /var/lib/fleetbox (spec option `disk`)."""
        if not self.spec.disk:
            raise HostsError(f"host {self.name} has no disk of its own to fill", "make it with disk=24m/512")
        self.exec(["python3", "-c", _FILL_BYTES if what == "bytes" else _FILL_INODES])

    def unfill(self) -> None:
        self.exec(["rm", "-rf", f"{STATE_FOLDER}/.filled", f"{STATE_FOLDER}/.filled.d"])

    def overlay_diff(self, *, logins: bool = False) -> list[Change]:
        """What changed since the host came up; without the records of logins unless asked."""
        changes = overlay_diff(self.state.upper, [self.state.identity, self.state.tree])
        if logins:
            return changes
        return [
            one for one in changes if not f"{one.path}/".startswith(tuple(f"{r}/" for r in LOGIN_RECORDS))
        ]

    def processes(self) -> list[str]:
        """Command lines of everything that runs on the host, pid 1 first; kernel threads have none."""
        listing = self.exec(["sh", "-c", 'for f in /proc/[0-9]*/cmdline; do tr "\\0" " " <"$f"; echo; done'])
        return [line for line in listing.stdout.decode().splitlines() if line.strip()]

    def log(self) -> str:
        """What the host's sshd, or the attempt to start it, wrote."""
        return self.state.log.read_text(errors="replace")


def _run(argv: list[str], *, check: bool, **options: Any) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(argv, capture_output=True, check=check, **options)
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr.decode(errors="replace").strip())
        raise
