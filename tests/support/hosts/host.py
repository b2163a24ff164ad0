"""One running host, as tests hold it.

`ssh` is the front door that everything under test uses. `exec` goes around it as root, for looking and for
breaking things; it passes sshd's seccomp filter by, so a host with userns=EPERM shows that refusal over
`ssh` only.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from tests.support.hosts import cleanup, guests, network
from tests.support.hosts.changes import LOGIN_RECORDS, Change, overlay_diff
from tests.support.hosts.errors import HostsError
from tests.support.hosts.processes import Process
from tests.support.hosts.spec import HostSpec
from tests.support.hosts.state import HostState, LabState
from tests.support.hosts.warden import ENVIRONMENT

LISTENING = "Server listening on 0.0.0.0 port 22."
START_SECONDS = 60.0
EMULATED_START_SECONDS = 180.0
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
    def index(self) -> int:
        """Its number in the lab, from 1."""
        return int(self.state.address.read_text())

    @property
    def address(self) -> str:
        return network.address(self.index)

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
        return _run(
            self.exec_argv(argv, env or {}), input=data, env=self._marked(), timeout=timeout, check=check
        )

    def exec_argv(self, argv: Sequence[str], env: Mapping[str, str] = MappingProxyType({})) -> list[str]:
        own = [f"{name}={value}" for name, value in (ENVIRONMENT | dict(env)).items()]
        clean = ["env", "--ignore-environment", "--chdir=/", *own, *argv]
        if self.spec.kind.own_kernel:
            return self._root_ssh("-o", "ControlMaster=no", self.name, "--", shlex.join(clean))
        # No `--wd=/`: nsenter opens that before it enters, and the command would sit in this machine's root.
        return ["nsenter", f"--target={self.init.pid}", "--all", "--", *clean]

    def _root_ssh(self, *words: str) -> list[str]:
        """Root's own door, where there is no nsenter."""
        door = ["-F", str(self.lab.ssh_config), "-p", str(guests.ROOT_PORT), "-l", "root"]
        path = f"ControlPath={self.lab.control_paths}/root-{self.name}"
        return network.inside(str(self.lab.netns), ["ssh", *door, "-o", path, *words])

    def keep_connection(self) -> None:
        """Hold root's door open: a new connection costs a third of a second there."""
        if self.spec.kind.own_kernel:
            self._mux("-f", "-N", "-M")

    def forget_connection(self) -> None:
        if self.spec.kind.own_kernel:
            self._mux("-O", "exit")

    def _mux(self, *words: str) -> None:
        # Without our pipes: the connection outlives this command.
        nothing: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        argv = self._root_ssh(*words, self.name)
        subprocess.run(argv, check=False, env=self._marked(), **nothing)

    def _marked(self) -> dict[str, str]:
        return os.environ | {cleanup.MARK: self.lab.name}

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
        network.set_link(str(self.lab.netns), self.index, "down")

    def link_up(self) -> None:
        network.set_link(str(self.lab.netns), self.index, "up")

    def reboot(self) -> None:
        """Restart in order, from inside, and return when sshd answers again (own kernel)."""
        self._must_have_own_kernel()
        self._start_anew(lambda: self.exec(["sh", "-c", "sync; reboot -f"], check=False))

    def cut_power(self) -> None:
        """Restart without a word: what the kernel had not written to its disk is gone (own kernel)."""
        self._must_have_own_kernel()
        self.state.power_cut.touch()
        self._start_anew(lambda: self.init.signal(signal.SIGKILL))

    def _start_anew(self, end: Callable[[], object]) -> None:
        before = self.starts()
        end()
        self.forget_connection()
        deadline = time.monotonic() + self.start_seconds
        while self.starts() == before:
            if time.monotonic() > deadline:
                raise HostsError(f"host {self.name} did not come up again: {self.log()[-3000:]}")
            time.sleep(0.01)
        self.keep_connection()

    def _must_have_own_kernel(self) -> None:
        if not self.spec.kind.own_kernel:
            raise HostsError(
                f"host {self.name} shares this machine's kernel and cannot restart", "make it with kind=uml"
            )

    @property
    def start_seconds(self) -> float:
        """How long it may take to come up before that is a failure."""
        return EMULATED_START_SECONDS if self.spec.kind.emulated else START_SECONDS

    def starts(self) -> int:
        """How often its sshd has come to listen."""
        # Its own word, not a connection: one that comes before eth0 is up costs a second of ARP.
        return self.log().count(LISTENING)

    def fill(self, what: Literal["bytes", "inodes"]) -> None:
        """Use up what is left of the small disk under /var/lib/fleetbox (spec option `disk`)."""
        if not self.spec.disk:
            raise HostsError(f"host {self.name} has no disk of its own to fill", "make it with disk=24m/512")
        self.exec(["python3", "-c", _FILL_BYTES if what == "bytes" else _FILL_INODES])

    def unfill(self) -> None:
        self.exec(["rm", "-rf", f"{STATE_FOLDER}/.filled", f"{STATE_FOLDER}/.filled.d"])

    def overlay_diff(self, *, logins: bool = False) -> list[Change]:
        """What changed since the host came up; without the records of logins unless asked."""
        if self.spec.kind.own_kernel:
            raise HostsError(f"host {self.name} has a disk, not an overlay", "compare files with `get`")
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
