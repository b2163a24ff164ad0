"""A test host made ready to launch sandboxes in seconds: what the roles install, put there without Ansible.

Launcher, host program, state directories and a bundle of compiled policies, activated by the host's own
`fleetbox-host`. One surprise: bubblewrap is installed by apt on the first host of a suite only; hosts made
later get a copy of that file, so the package database of those knows nothing of it.
"""

import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from fleetbox import bundle
from fleetbox.conformance import expect
from fleetbox.hostside import paths, payload
from fleetbox.hostside.install import ENTRY
from fleetbox.policy import load_policy
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec, Kind, Suite, UserNamespaces

HEAD = "apiVersion: fleetbox/v1\nkind: SandboxPolicy\nmetadata: {{name: {name}}}\n"
PACKAGED = "/usr/bin/bwrap"
WORKSPACE = "/home/dev/ws"

_APT = "apt-get -qq update && apt-get -qq install --no-install-recommends bubblewrap >/dev/null"
_AS_DEV = (
    "setpriv", "--reuid=dev", "--regid=dev", "--init-groups", "--reset-env",
    "env", "--chdir=/home/dev", "LANG=C.UTF-8",
)  # fmt: skip
_packaged: dict[Suite, bytes] = {}
_installing: dict[Suite, Lock] = {suite: Lock() for suite in Suite}


@dataclass(frozen=True)
class Provisioned:
    """A host with everything in its place; `launch` is what a person types there."""

    host: Host

    def launch(
        self,
        *words: str,
        policy: str | None = None,
        options: Sequence[str] = ("--workspace", WORKSPACE),
        env: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """`fleetbox-run … -- WORDS` as dev."""
        return self.run(*self.command(*words, policy=policy, options=options, env=env))

    def command(
        self,
        *words: str,
        policy: str | None = None,
        options: Sequence[str] = ("--workspace", WORKSPACE),
        env: Mapping[str, str] | None = None,
    ) -> list[str]:
        return [
            *(["env", *(f"{name}={value}" for name, value in env.items())] if env else []),
            paths.LAUNCHER,
            *options,
            *(["--policy", policy] if policy else []),
            "--",
            *words,
        ]

    def sh(
        self, script: str, *, policy: str | None = None, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        return self.launch("sh", "-c", script, policy=policy, **options)

    def run(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """As dev, outside of any sandbox.

        Past sshd, which costs ten times as much, but where the host's refusal of user namespaces hangs on it.
        """
        if self.host.spec.userns is not UserNamespaces.OK and not self.host.spec.kind.own_kernel:
            return _text(self.host.ssh(argv, check=False))
        return _text(self.host.exec([*_AS_DEV, *argv], check=False))

    @contextmanager
    def running(self, policy: str, *options: str) -> Iterator[None]:
        """Meanwhile a sandbox of dev's runs."""
        words = self.command(
            "sh", "-c", "echo ready; read end", policy=policy, options=("--workspace", WORKSPACE, *options)
        )
        with self.meanwhile(*_AS_DEV, *words):
            yield

    @contextmanager
    def meanwhile(self, *argv: str) -> Iterator[None]:
        """Meanwhile a program of root's runs, which says `ready` and ends with its input."""
        process = subprocess.Popen(
            self.host.exec_argv([*argv]), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.communicate(b"\n", timeout=20)

    def root(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """As root through dev's sudo, as an administrator would."""
        return self.run("sudo", "-n", "--", *argv)

    def change(self, script: str) -> str:
        """Break or set up something as root; its output."""
        return self.host.exec(["sh", "-euc", script]).stdout.decode()

    @contextmanager
    def masked_proc(self) -> Iterator[None]:
        """Meanwhile no sandbox can mount a fresh /proc, as in a container."""
        self.change("mount --bind /dev/null /proc/cmdline")
        try:
            yield
        finally:
            self.change("umount /proc/cmdline")

    def activate(self, policies: Mapping[str, str]) -> str:
        """Compile bodies of policies by name, the first being the default, and activate them; the digest."""
        built = compiled(policies)
        argv = [paths.HOST_PROGRAM, "activate", built.digest, "--bundle", "-", "--no-smoke"]
        done = self.host.exec(argv, data=built.tar, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["digest"] == built.digest
        return built.digest


def compiled(policies: Mapping[str, str]) -> bundle.Bundle:
    """The bundle that a push of these would send."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.yml" for name in policies}
        for name, path in files.items():
            path.write_text(HEAD.format(name=name) + policies[name])
        resolved = [load_policy(path) for path in files.values()]
    return bundle.build(resolved, {policy.name: expect.checks_for(policy) for policy in resolved})


def provision(host: Host, launcher: Path) -> Provisioned:
    """Install everything but a policy, and make dev's workspace."""
    program(host, launcher)
    _install_bwrap(host)
    host.exec(["sh", "-euc", _DIRECTORIES])
    return Provisioned(host)


def program(host: Host, launcher: Path) -> None:
    """Install the host program and the launcher, and nothing that they need to launch."""
    host.exec(["sh", "-c", "umask 022; exec tar -x -C /"], data=_archive(launcher))


@contextmanager
def provisioned(lab: Lab, launcher: Path, *specs: HostSpec) -> Iterator[list[Provisioned]]:
    """Hosts side by side, each ready; taken down at the end."""
    hosts = lab.up(*specs)
    try:
        with ThreadPoolExecutor() as pool:
            yield list(pool.map(partial(provision, launcher=launcher), hosts))
    finally:
        lab.down(*hosts)


_DIRECTORIES = f"""
install -d -m 0755 {paths.STATE} {paths.STORE} {paths.GENERATIONS} {Path(paths.REFUSALS).parent}
install -d -m 1733 {paths.REFUSALS}
install -d -o dev -g dev {WORKSPACE}
install -D -m 0755 {PACKAGED} {paths.BWRAP}
"""


def _install_bwrap(host: Host) -> None:
    if host.spec.kind is Kind.QEMU_AARCH64:
        return  # it is in the tree: this machine's would not run there
    suite = host.spec.suite
    with _installing[suite]:
        if suite not in _packaged and host.spec.kind.own_kernel:
            _packaged[suite] = _bwrap_of_another_host(host)
        if suite not in _packaged:
            host.exec(["sh", "-euc", _APT], timeout=120)
            _packaged[suite] = host.get(PACKAGED)
            return
    host.put(PACKAGED, _packaged[suite], mode=0o755)


def _bwrap_of_another_host(host: Host) -> bytes:
    """A kernel in user mode takes twenty seconds for what apt does in two elsewhere."""
    lab = Lab(host.lab)
    [other] = lab.up(HostSpec.of(f"for-{host.name}", suite=host.spec.suite))
    try:
        other.exec(["sh", "-euc", _APT], timeout=120)
        return other.get(PACKAGED)
    finally:
        lab.down(other)


def _archive(launcher: Path) -> bytes:
    """What the roles `hostside` and `launcher` copy."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        _add(tar, paths.LAUNCHER, launcher.read_bytes(), 0o755)
        _add(tar, paths.HOST_PROGRAM, ENTRY.encode(), 0o755)
        for name, content in payload.files().items():
            _add(tar, f"{paths.PREFIX}/{name}", content, 0o644)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, path: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(path.lstrip("/"))
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))


def _text(done: "subprocess.CompletedProcess[bytes]") -> "subprocess.CompletedProcess[str]":
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)
