"""What makes one host of a suite's tree: a thin layer under its changes, with its name, keys and apt's
proxy.

It is a layer of its own so that the upper directory starts empty: whatever appears there later, somebody
changed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from tests.support.hosts import gpus, mirror, network
from tests.support.hosts.namespaces import ID_BASE
from tests.support.hosts.spec import HostSpec
from tests.support.hosts.state import HostState

DEV = 1000
HOST_KEY = "etc/ssh/ssh_host_ed25519_key"


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)


def write(host: HostState, spec: HostSpec, *, address: str, authorized_key: str) -> None:
    """Fill `host.identity`; the tree must be linked already, its folders' modes are copied."""
    layer = _Layer(host.identity, host.tree)
    layer.file("etc/hostname", spec.name + "\n")
    layer.file("etc/hosts", f"127.0.0.1 localhost\n{address} {spec.name}\n")
    layer.file("etc/machine-id", secrets.token_hex(16) + "\n", mode=0o444)
    layer.file("etc/apt/sources.list", f"deb {mirror.configured().plain_uri} {spec.suite} main\n")
    proxy = f'Acquire::http::Proxy "http://{network.GATEWAY}:{network.PROXY_PORT}";\n'
    layer.file("etc/apt/apt.conf.d/91fleetbox-hosts-proxy", proxy)
    layer.folder("home/dev/.ssh", mode=0o700, owner=DEV)
    layer.file("home/dev/.ssh/authorized_keys", authorized_key, mode=0o600, owner=DEV)
    make_key(layer.parent(HOST_KEY))
    for path, mode in ((HOST_KEY, 0o600), (HOST_KEY + ".pub", 0o644)):
        layer.own(host.identity / path, mode, 0)
    if spec.kind.own_kernel:
        layer.file("etc/ssh/harness_keys", authorized_key, mode=0o600)
    if spec.apparmor:
        layer.file("etc/apparmor.d/fleetbox-hosts.profile", spec.apparmor_profile.read_text())
    for path, content in gpus.MACHINES[spec.gpu].files.items():
        layer.file(path, content)
    if spec.disk:
        layer.folder("var/lib/fleetbox", mode=0o755, owner=0)


def public_host_key(host: HostState) -> str:
    """Type and key, as known_hosts wants them."""
    return " ".join((host.identity / f"{HOST_KEY}.pub").read_text().split()[:2])


class _Layer:
    def __init__(self, root: Path, tree: Path) -> None:
        self._root, self._tree = root, tree
        root.mkdir()
        self.own(root, 0o755, 0)

    def own(self, path: Path, mode: int, owner: int) -> None:
        os.chown(path, ID_BASE + owner, ID_BASE + owner)
        path.chmod(mode)

    def parent(self, name: str) -> Path:
        """The path in the layer, after its folders were made with the tree's owners and modes."""
        path = self._root / name
        for folder in reversed(Path(name).parents[:-1]):
            made = self._root / folder
            if not made.exists():
                made.mkdir()
                self._as_in_the_tree(folder)
        return path

    def _as_in_the_tree(self, folder: Path) -> None:
        made, there = self._root / folder, self._tree / folder
        if there.exists():
            os.chown(made, there.stat().st_uid, there.stat().st_gid)
            shutil.copymode(there, made)
        else:
            self.own(made, 0o755, 0)

    def folder(self, name: str, *, mode: int, owner: int) -> None:
        path = self.parent(name)
        path.mkdir()
        self.own(path, mode, owner)

    def file(self, name: str, content: str, *, mode: int = 0o644, owner: int = 0) -> None:
        path = self.parent(name)
        path.write_text(content)
        self.own(path, mode, owner)
