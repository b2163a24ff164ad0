"""Hosts on which attempts run: provisioned as by the roles, with the arena copied onto them."""

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetbox.hostside import paths
from fleetbox.targets.bubblewrap import syscalls
from tests.conftest import REPO
from tests.escape import policies
from tests.escape.arena import config
from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.namespaces import ID_BASE
from tests.support.hosts.spec import HostSpec
from tests.support.provision import PACKAGED, Provisioned, provision

SPECS: dict[str, dict[str, Any]] = {
    "bookworm": {},
    "bullseye": {"suite": "bullseye"},
    "trixie": {"suite": "trixie"},
    "wsl2": {"hooks": ["wsl2"]},
    "gpu": {"gpu": "nvidia"},
    "kernel": {"kind": "uml"},
    "qemu": {"kind": "qemu", "suite": "trixie"},
}
PEERS = Path("/opt/peers")
ARENA = Path("/opt/escape")
SOURCE = """
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((constructor)) static void planted(void) {
    const char *victim = getenv("ESCAPE_VICTIM");
    int fd = victim ? open(victim, O_WRONLY | O_TRUNC) : -1;
    if (fd >= 0) {
        write(fd, "escaped", 7);
    }
}
"""


@dataclass(frozen=True)
class Outcome:
    """What one way of starting a payload came to."""

    how: str
    escaped: bool
    reached: bool
    timed_out: bool
    code: int | None
    output: str
    error: str

    @property
    def reason(self) -> str:
        """The last thing that was said."""
        return next((line for line in reversed(self.error.splitlines()) if line.strip()), "")


@dataclass(frozen=True)
class Arena:
    """One host, ready."""

    box: Provisioned

    def run(self, attempt: str, *hows: str) -> list[Outcome]:
        argv = ["env", f"PYTHONPATH={ARENA}", "python3", "-m", "tests.escape.arena", attempt, *hows]
        done = self.box.host.exec(argv, check=False, timeout=120)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]


def prepare(lab: Lab, launcher: Path, kind: str, library: bytes) -> Arena:
    """Start a host of this kind and put everything on it."""
    [host] = lab.up(HostSpec.of(f"escape-{kind}", **SPECS[kind]))
    try:
        return _furnish(host, launcher, kind, library)
    except BaseException:
        lab.down(host)
        raise


def _furnish(host: Host, launcher: Path, kind: str, library: bytes) -> Arena:
    box = provision(host, launcher)
    made = policies.built()
    done = host.exec(
        [paths.HOST_PROGRAM, "activate", made.digest, "--bundle", "-", "--no-smoke"],
        data=made.tar,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    host.exec(["sh", "-c", f"mkdir -p {ARENA} && exec tar -x -C {ARENA}"], data=_archive(library))
    if kind == "gpu":
        _undeclared_node(box)
    return Arena(box)


def _undeclared_node(box: Provisioned) -> None:
    """A device with a driver behind it, as the machine's root: a host's own may not make any."""
    namespace = ["nsenter", f"--target={box.host.init.pid}", "--mount", "--root", "--"]
    for words in (
        ["sh", "-c", "umask 0; exec mknod /dev/undeclared c 1 7"],
        ["chown", f"{ID_BASE}:{ID_BASE}", "/dev/undeclared"],
    ):
        subprocess.run([*namespace, *words], check=True)


def numbers() -> dict[str, int]:
    """System call numbers by name on this machine's architecture."""
    arch = syscalls.Arch(os.uname().machine)
    known = {
        name: numbers.on(arch)
        for group in syscalls.ALWAYS + syscalls.UNLESS_NESTED
        for name, numbers in group.calls.items()
    }
    known |= {name: numbers.on(arch) for name, numbers in syscalls.BY_ARGUMENT.items()}
    at = 0 if arch is syscalls.Arch.X86_64 else 1
    known |= {name: pair[at] for name, pair in config.EXTRA.items()}
    return {name: number for name, number in known.items() if number is not None}


def planted_library(folder: Path) -> bytes:
    """Built with the project's own compiler, against nothing newer than the oldest host has."""
    (folder / "planted.c").write_text(SOURCE)
    target = f"{os.uname().machine}-linux-gnu.2.28"
    argv = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-target", target]
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(REPO / "build/zig")}
    subprocess.run([*argv, "-o", "planted.so", "planted.c"], cwd=folder, check=True, env=environment)
    return (folder / "planted.so").read_bytes()


def _archive(library: bytes) -> bytes:
    here = Path(__file__).parent
    described = {
        "launcher": paths.LAUNCHER,
        "bwrap": PACKAGED,
        "generation": f"{paths.CURRENT}/{paths.LINUX_DIR}",
        "machine": os.uname().machine,
        "numbers": numbers(),
        "peers": str(PEERS),
    }
    files = {str(file.relative_to(REPO)): file.read_bytes() for file in here.glob("arena/**/*.py")}
    files |= {"tests/__init__.py": b"", "tests/escape/__init__.py": b""}
    files["tests/escape/arena/config.json"] = json.dumps(described).encode()
    files["tests/escape/arena/planted.so"] = library
    return _tar(list(files.items()))


def _tar(files: Sequence[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
