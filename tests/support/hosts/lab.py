"""A lab: some hosts and their controller in one network, made and removed together.

    with Lab.create() as lab:
        [web, gpu] = lab.up(HostSpec.of("web"), HostSpec.of("gpu", suite="trixie", gpu="nvidia"))
        lab.controller(["ansible", "-i", str(lab.inventory), "all", "-m", "ping"], check=True)

It outlives neither the `with` block nor its owner process: a lab whose owner was killed is taken down by
its keeper.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.hosts import (
    cleanup,
    configuration,
    guests,
    hooks,
    identity,
    images,
    mirror,
    network,
    start,
    trees,
)
from tests.support.hosts.errors import HostsError
from tests.support.hosts.host import Host
from tests.support.hosts.namespaces import ID_BASE
from tests.support.hosts.processes import Process
from tests.support.hosts.spec import NAME, HostSpec, Kind
from tests.support.hosts.state import LabState, every_lab

END_SECONDS = 60.0


class Lab:
    """Made by `create` or found by `open`; closing a found lab takes it down just the same."""

    def __init__(self, state: LabState, keeper: subprocess.Popen[bytes] | None = None) -> None:
        self.state = state
        self._keeper = keeper
        self._wardens: dict[str, subprocess.Popen[bytes]] = {}
        self.name = state.name
        self.inventory = state.inventory
        self.known_hosts = state.known_hosts
        self.ssh_config = state.ssh_config
        self.key = state.key
        self.netns = str(state.netns)

    @classmethod
    def create(cls, name: str | None = None, *, owner: int | None = None) -> Lab:
        """Make an empty lab that goes down when process `owner` (ours by default) ends."""
        if os.geteuid() != 0:
            raise HostsError("labs are made by root", "run this as root, or use `fleetbox run` without hosts")
        mirror.configured()
        cleanup.sweep()
        name = name or f"t{os.getpid()}-{secrets.token_hex(3)}"
        if not NAME.fullmatch(name):
            raise HostsError(f"lab name {name!r}", f"expected {NAME.pattern}")
        state = LabState.named(name)
        try:
            state.path.mkdir(mode=0o700)
        except FileExistsError as error:
            raise HostsError(f"there is a lab {name} already", f"down {name}") from error
        return cls(state, start.keeper(state, owner or os.getpid()))

    @classmethod
    def open(cls, name: str) -> Lab:
        """The running lab of this name, whoever made it."""
        state = LabState.named(name)
        if state not in every_lab() or not state.kept():
            raise HostsError(f"there is no lab {name}", "`list` shows the running ones")
        return cls(state)

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def up(self, *specs: HostSpec) -> list[Host]:
        """Start hosts side by side; return when each one's sshd answers. All of these, or none."""
        for suite, kind in {(spec.suite, spec.kind) for spec in specs}:
            images.ensure(suite, kind) if kind.own_kernel else trees.ensure(suite, kind)
        hosts: list[Host] = []
        try:
            for spec in specs:
                host = Host(self.state, spec)
                self._claim(host)
                hosts.append(host)
                self._lay_out(host)
                self._wardens[host.name] = start.warden(host.state)
            configuration.write(self.state)
            self._wait_for_sshd(hosts)
        except BaseException:  # also Ctrl-C: half a host is no host
            self.down(*hosts)
            raise
        return hosts

    def down(self, *hosts: Host) -> None:
        """Take these hosts down and forget them."""
        for host in hosts:
            host.forget_connection()
            cleanup.end_host(host.state)
            if warden := self._wardens.pop(host.name, None):
                warden.wait()
            network.unplug(self.netns, host.index)
            (self.state.addresses / host.state.address.read_text()).rmdir()
            shutil.rmtree(host.state.path)
        configuration.write(self.state)

    def hosts(self) -> list[Host]:
        return [Host.load(self.state, state) for state in self.state.each_host()]

    def host(self, name: str) -> Host:
        for host in self.hosts():
            if host.name == name:
                return host
        raise HostsError(f"lab {self.name} has no host {name}")

    def close(self) -> None:
        """Take the lab down; nothing of it is left when this returns."""
        if self._keeper:
            # Our own child; its record may have gone with the folder, and waiting then would never end.
            self._keeper.terminate()
        if keeper := Process.read(self.state.keeper):
            keeper.signal(signal.SIGTERM)
            if not keeper.wait(END_SECONDS):
                keeper.signal(signal.SIGKILL)
                keeper.wait(END_SECONDS)
        if self._keeper:
            self._keeper.wait(END_SECONDS)
        if self.state.path.exists():
            cleanup.destroy(self.state)
        for warden in self._wardens.values():
            warden.wait()

    def detach(self) -> None:
        """Let the lab outlive its owner, until somebody closes it."""
        self.state.detached.touch()

    def controller_argv(self, argv: Sequence[str]) -> list[str]:
        return network.inside(self.netns, list(argv))

    def controller_env(self) -> dict[str, str]:
        """Our environment, except that nothing is read from or written to the user's home."""
        return os.environ | {
            cleanup.MARK: self.name,
            "HOME": str(self.state.home),
            "ANSIBLE_HOME": str(self.state.home / ".ansible"),
            "ANSIBLE_LOCAL_TEMP": str(self.state.home / ".ansible/tmp"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.state.control_paths),
        }

    def controller(
        self, argv: Sequence[str], *, env: dict[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[Any]:
        """Run a command where it can reach the hosts; options are those of `subprocess.run`, env is added."""
        check = options.pop("check", False)
        return subprocess.run(
            self.controller_argv(argv), env=self.controller_env() | (env or {}), check=check, **options
        )

    def _claim(self, host: Host) -> None:
        try:
            host.state.path.mkdir()
        except FileExistsError as error:
            raise HostsError(f"lab {self.name} has a host {host.name} already") from error
        host.state.address.write_text(str(_claim_address(self.state)))

    def _lay_out(self, host: Host) -> None:
        state = host.state
        state.path.chmod(0o711)  # its own root, a stranger to this machine, finds its way back in here
        for folder in (state.upper, state.work, state.root, state.binds):
            folder.mkdir()
            folder.chmod(0o755)
        os.chown(state.upper, ID_BASE, ID_BASE)
        state.tree.symlink_to(trees.tree(host.spec.suite, host.spec.kind))
        public_key = Path(f"{self.key}.pub").read_text()
        identity.write(state, host.spec, address=host.address, authorized_key=public_key)
        hooks.prepare_binds(host.spec, state.binds)
        if host.spec.kind.own_kernel:
            guests.lay_out(state, host.spec)
        if host.spec.kind is Kind.SYSTEMD:
            state.log.touch()
            os.chown(state.log, ID_BASE, ID_BASE)  # its sshd opens it from inside
        state.spec.write_text(json.dumps(host.spec.as_json()))

    def _wait_for_sshd(self, hosts: Sequence[Host]) -> None:
        began = time.monotonic()
        for host in hosts:
            deadline = began + host.start_seconds
            while host.starts() == 0:
                if self._wardens[host.name].poll() is not None or time.monotonic() > deadline:
                    raise HostsError(f"host {host.name} did not come up: {host.log()[-3000:]}")
                time.sleep(0.01)
            host.keep_connection()


def _claim_address(lab: LabState) -> int:
    index = 1
    while True:
        try:
            (lab.addresses / str(index)).mkdir()
        except FileExistsError:
            index += 1
        else:
            return index
