"""The suites' root file systems: built once by mmdebstrap, kept under /var/cache/fleetbox, never written
again.

A tree is named by the hash of its recipe, so a changed recipe builds a new one and an old checkout still
finds its own. Its owner ids are shifted by 100000: root of a host is nobody on this machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support.hosts import foreign, mirror
from tests.support.hosts.errors import HostsError
from tests.support.hosts.namespaces import ID_BASE
from tests.support.hosts.spec import Kind, Suite

CACHE = Path("/var/cache/fleetbox")
PACKAGES = ("ca-certificates", "iproute2", "openssh-server", "python3", "python3-apt", "sudo")
SYSTEM_PACKAGES = (*PACKAGES, "apparmor", "dbus-user-session", "libpam-systemd", "procps", "systemd-sysv")
"""Of a host that boots: what systemd as pid 1, or a kernel of one's own, makes use of."""
KERNEL_PACKAGES = ("apparmor-profiles", "busybox-static", "linux-image-cloud-amd64", "zstd")
"""Of a host with its distribution's kernel, and what unpacks that and starts its disk."""

SSHD = """\
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
MaxStartups 100:30:200
MaxSessions 100
"""
# sshd 9.8 and later lock an address out after failures; here every test comes from the same one.
SSHD_SINCE_TRIXIE = "PerSourcePenalties no\n"

APT = """\
Acquire::Check-Valid-Until "false";
Acquire::Check-Date "false";
Acquire::Languages "none";
APT::Install-Recommends "false";
DPkg::Options { "--force-confold"; };
"""

# path in the tree: (mode, content)
FILES = {
    "etc/apt/apt.conf.d/90fleetbox-hosts": (0o644, APT),
    "etc/machine-id": (0o444, ""),
    # A name server that is not there answers at once; the machine's own would be waited for.
    "etc/resolv.conf": (0o644, "nameserver 127.0.0.1\n"),
    "etc/sudoers.d/dev": (0o440, "dev ALL=(ALL) NOPASSWD: ALL\n"),
    # Packages must not start services: pid 1 is sshd.
    "usr/sbin/policy-rc.d": (0o755, "#!/bin/sh\nexit 101\n"),
}
# sshd tells the harness when it listens; the journal would keep that to itself.
SSH_UNIT = """\
[Service]
ExecStart=
ExecStart=/usr/sbin/sshd -D -e
StandardError=append:/run/host.log
"""
# A host of some seconds has nothing to download, trim or scrub, and debugging is for a kernel's own root.
MASKED_UNITS = (
    *(
        f"{name}.timer"
        for name in ("apt-daily", "apt-daily-upgrade", "dpkg-db-backup", "e2scrub_all", "fstrim")
    ),
    *(f"sys-kernel-{name}.mount" for name in ("debug", "tracing")),
    "e2scrub_reap.service",
    "systemd-modules-load.service",
)
SYSTEM_FILES = {
    "etc/systemd/system/ssh.service.d/fleetbox-hosts.conf": (0o644, SSH_UNIT),
    # A logout takes what belongs to the login at once, not after ten seconds.
    "etc/systemd/logind.conf.d/fleetbox-hosts.conf": (0o644, "[Login]\nUserStopDelaySec=0\n"),
    # Empty is masked.
    **dict.fromkeys((f"etc/systemd/system/{unit}" for unit in MASKED_UNITS), (0o644, "")),
    "usr/local/sbin/boot-host": (0o755, (Path(__file__).parent / "boot-host.sh").read_text()),
    "usr/sbin/policy-rc.d": (0o755, "#!/bin/sh\ntest -d /run/systemd/system || exit 101\n"),
}
REMOVED = ("etc/ssh/ssh_host_*", "var/log/lastlog", "var/log/wtmp", "var/log/btmp", "var/log/apt/*")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a tree holds, apart from what the archive holds that day."""

    suite: Suite
    packages: tuple[str, ...]
    files: dict[str, tuple[int, str]]
    removed: tuple[str, ...] = REMOVED
    format: int = 1
    architecture: str | None = None
    """As Debian names it; None is this machine's."""

    @property
    def digest(self) -> str:
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]


def recipe(suite: Suite, kind: Kind = Kind.NAMESPACE) -> Recipe:
    """What a host of this suite and kind is made of; systemd and user-mode Linux share one."""
    sshd = SSHD + (SSHD_SINCE_TRIXIE if suite in {Suite.TRIXIE, Suite.SID} else "")
    files = FILES | {"etc/ssh/sshd_config.d/fleetbox-hosts.conf": (0o644, sshd)}
    if kind is Kind.NAMESPACE:
        return Recipe(suite, PACKAGES, files)
    if kind is Kind.QEMU_AARCH64:
        packages = (*PACKAGES, *foreign.PACKAGES, "linux-image-cloud-arm64")
        return Recipe(suite, packages, files | foreign.FILES | SYSTEM_FILES, architecture="arm64")
    packages = SYSTEM_PACKAGES + (KERNEL_PACKAGES if kind is Kind.QEMU else ())
    return Recipe(suite, packages, files | SYSTEM_FILES)


def tree(suite: Suite, kind: Kind = Kind.NAMESPACE) -> Path:
    """Where the suite's tree is, or will be."""
    return CACHE / "trees" / f"{suite}-{recipe(suite, kind).digest}"


def ensure(suite: Suite, kind: Kind = Kind.NAMESPACE) -> Path:
    """The suite's tree, built in 20-30 seconds when this machine has none yet."""
    done = tree(suite, kind)
    if done.is_dir():
        return done
    with building(done):
        if not done.is_dir():
            unfinished = done.with_suffix(".unfinished")
            remove(unfinished)
            _build(recipe(suite, kind), unfinished)
            unfinished.rename(done)
    return done


@contextmanager
def building(thing: Path) -> Iterator[None]:
    """One process at a time builds what will lie there."""
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Closed to others: the trees hold set-user-id programs of an id that an ordinary user might own.
    thing.parent.mkdir(mode=0o700, exist_ok=True)
    with open(thing.parent / f".{thing.name}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(recipe: Recipe, root: Path) -> None:
    _bootstrap(recipe, root)
    _customise(recipe, root)
    move_ids(root, ID_BASE)


def _bootstrap(recipe: Recipe, root: Path) -> None:
    source = mirror.configured()
    argv = [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--format=directory",
        *(foreign.options(recipe.architecture) if recipe.architecture else ["--variant=minbase"]),
        f"--include={','.join(recipe.packages)}",
        # mmdebstrap does not read the machine's apt.conf; suites that ended have an expired Release file.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        '--aptopt=Acquire::Check-Date "false"',
        *([f'--aptopt=Acquire::http::Proxy "{source.proxy}"'] if source.proxy else []),
        str(recipe.suite),
        str(root),
        source.uri,
    ]
    try:
        # INITRD: a kernel's package makes none; the machine that boots it gets one of ours.
        environment = os.environ | {"INITRD": "No"}
        subprocess.run(
            argv, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment
        )
    except FileNotFoundError as error:
        raise HostsError("mmdebstrap is not installed", "apt-get install -y mmdebstrap") from error
    except subprocess.CalledProcessError as error:
        remove(root)
        raise HostsError(
            f"no tree for {recipe.suite}: {error.stderr.strip()[-2000:]}",
            "inside a lab there is no way out: build trees before, `python -m tests.support.hosts trees`",
        ) from error


def _customise(recipe: Recipe, root: Path) -> None:
    if recipe.architecture:
        foreign.configure(root)
    else:
        add_user = ["useradd", "--create-home", "--uid", "1000", "--shell", "/bin/bash", "dev"]
        subprocess.run(["chroot", str(root), *add_user], check=True, capture_output=True, text=True)
    for pattern in recipe.removed:
        for path in root.glob(pattern):
            path.unlink()
    for name, (mode, content) in recipe.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(content)
        path.chmod(mode)
    # Ansible's cache_valid_time takes the age of this empty folder for the age of the package lists.
    long_ago = time.time() - 3 * 86400
    os.utime(root / "var/lib/apt/lists", (long_ago, long_ago))


def move_ids(root: Path, by: int) -> None:
    """Shift every owner; a file that has several names, once."""
    moved: set[int] = set()
    for folder, folders, files in os.walk(root):
        for path in [folder, *(os.path.join(folder, name) for name in [*folders, *files])]:
            status = os.lstat(path)
            if status.st_ino in moved:
                continue
            moved.add(status.st_ino)
            os.lchown(path, status.st_uid + by, status.st_gid + by)
            if not stat.S_ISLNK(status.st_mode):
                os.chmod(path, stat.S_IMODE(status.st_mode))  # a change of owner cleared set-user-id


def remove(root: Path) -> None:
    if root.exists():
        shutil.rmtree(root)
