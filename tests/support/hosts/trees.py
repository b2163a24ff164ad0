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
from pathlib import Path

from tests.support.hosts import mirror
from tests.support.hosts.errors import HostsError
from tests.support.hosts.namespaces import ID_BASE
from tests.support.hosts.spec import Suite

CACHE = Path("/var/cache/fleetbox")
PACKAGES = ("ca-certificates", "iproute2", "openssh-server", "python3", "python3-apt", "sudo")

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
REMOVED = ("etc/ssh/ssh_host_*", "var/log/lastlog", "var/log/wtmp", "var/log/btmp", "var/log/apt/*")


def recipe(suite: Suite) -> dict[str, object]:
    """Everything that decides what a tree holds, apart from what the archive holds that day."""
    sshd = SSHD + (SSHD_SINCE_TRIXIE if suite in {Suite.TRIXIE, Suite.SID} else "")
    files = FILES | {"etc/ssh/sshd_config.d/fleetbox-hosts.conf": (0o644, sshd)}
    return {"format": 1, "suite": suite, "packages": PACKAGES, "files": files, "removed": REMOVED}


def tree(suite: Suite) -> Path:
    """Where the suite's tree is, or will be."""
    digest = hashlib.sha256(json.dumps(recipe(suite), sort_keys=True).encode()).hexdigest()
    return CACHE / "trees" / f"{suite}-{digest[:16]}"


def ensure(suite: Suite) -> Path:
    """The suite's tree, built in 20-30 seconds when this machine has none yet."""
    done = tree(suite)
    if done.is_dir():
        return done
    with _building(suite):
        if not done.is_dir():
            unfinished = done.with_suffix(".unfinished")
            _remove(unfinished)
            _build(suite, unfinished)
            unfinished.rename(done)
    return done


@contextmanager
def _building(suite: Suite) -> Iterator[None]:
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Closed to others: the trees hold set-user-id programs of an id that an ordinary user might own.
    (CACHE / "trees").mkdir(mode=0o700, exist_ok=True)
    with open(CACHE / "trees" / f".{suite}.lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(suite: Suite, root: Path) -> None:
    _bootstrap(suite, root)
    _customise(suite, root)
    _shift(root)


def _bootstrap(suite: Suite, root: Path) -> None:
    source = mirror.configured()
    argv = [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--format=directory",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        # mmdebstrap does not read the machine's apt.conf; suites that ended have an expired Release file.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        '--aptopt=Acquire::Check-Date "false"',
        *([f'--aptopt=Acquire::http::Proxy "{source.proxy}"'] if source.proxy else []),
        str(suite),
        str(root),
        source.uri,
    ]
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise HostsError("mmdebstrap is not installed", "apt-get install -y mmdebstrap") from error
    except subprocess.CalledProcessError as error:
        _remove(root)
        raise HostsError(
            f"no tree for {suite}: {error.stderr.strip()[-2000:]}",
            "inside a lab there is no way out: build trees before, `python -m tests.support.hosts trees`",
        ) from error


def _customise(suite: Suite, root: Path) -> None:
    add_user = ["useradd", "--create-home", "--uid", "1000", "--shell", "/bin/bash", "dev"]
    subprocess.run(["chroot", str(root), *add_user], check=True, capture_output=True, text=True)
    for pattern in REMOVED:
        for path in root.glob(pattern):
            path.unlink()
    files = recipe(suite)["files"]
    assert isinstance(files, dict)
    for name, (mode, content) in files.items():
        path = root / name
        path.unlink(missing_ok=True)
        path.write_text(content)
        path.chmod(mode)
    # Ansible's cache_valid_time takes the age of this empty folder for the age of the package lists.
    long_ago = time.time() - 3 * 86400
    os.utime(root / "var/lib/apt/lists", (long_ago, long_ago))


def _shift(root: Path) -> None:
    for folder, folders, files in os.walk(root):
        for path in [folder, *(os.path.join(folder, name) for name in [*folders, *files])]:
            status = os.lstat(path)
            if status.st_uid >= ID_BASE:
                continue
            os.lchown(path, status.st_uid + ID_BASE, status.st_gid + ID_BASE)
            if not stat.S_ISLNK(status.st_mode):
                os.chmod(path, stat.S_IMODE(status.st_mode))  # a change of owner cleared set-user-id


def _remove(root: Path) -> None:
    if root.exists():
        shutil.rmtree(root)
