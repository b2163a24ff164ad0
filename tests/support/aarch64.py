"""The tests of this checkout on an aarch64 machine: a processor that QEMU emulates, and Debian's own kernel.

`python -m tests.support.aarch64 PYTEST-WORD…` boots one, takes the checkout, its launcher and what the tests
import there, and runs pytest in it as root. Surprise: it is some ten times slower than this machine.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.support.hosts.host import Host
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec

REPO = Path(__file__).resolve().parents[2]
CONSTRAINTS = REPO / "constraints.txt"
LAUNCHER = "fleetbox/bin/fleetbox-run-linux-aarch64"
CHECKOUT, PACKAGES = "/srv/fleetbox", "/srv/packages"

SPEC = HostSpec.of("aarch64", kind="qemu-aarch64", suite="trixie")
PYTHON = "3.13"
"""Of that suite."""
REQUIREMENTS = ("pydantic", "pytest", "pytest-timeout", "PyYAML")
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_28_aarch64")


def launcher() -> Path:
    """The launcher of this checkout, built when its sources are newer."""
    build = [sys.executable, str(REPO / "launcher/build.py"), "--arch", "aarch64"]
    subprocess.run(build, check=True, capture_output=True)
    return REPO / LAUNCHER


def install(host: Host) -> None:
    """Take there what the tests need: inside a lab there is no way out to fetch it."""
    launcher()
    for source, names, target in (
        (REPO, [*_checkout(), LAUNCHER], CHECKOUT),
        (packages(), ["."], PACKAGES),
    ):
        host.exec(["mkdir", target])
        host.exec(["tar", "-x", "-C", target], data=_archive(source, names), timeout=300)


def command(*words: str) -> list[str]:
    """What `Host.exec` runs; a skip there is a failure, as on CI."""
    return [
        *("env", f"--chdir={CHECKOUT}", f"PYTHONPATH={PACKAGES}", "CI=1"),
        f"FLEETBOX_LAUNCHER={CHECKOUT}/{LAUNCHER}",
        *("python3", "-m", "pytest", "-p", "no:cacheprovider", *words),
    ]


def packages() -> Path:
    """What the tests import beside the standard library, as pinned for everybody, unpacked by pip."""
    pins = hashlib.sha256(CONSTRAINTS.read_bytes() + " ".join(REQUIREMENTS).encode()).hexdigest()[:16]
    done = REPO / "build" / f"aarch64-python{PYTHON}-{pins}"
    if not done.exists():
        unfinished = done.with_suffix(".unfinished")
        argv = [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--target", str(unfinished), "--upgrade", "--no-compile", "--only-binary=:all:"),
            *("--python-version", PYTHON, *(f"--platform={one}" for one in PLATFORMS)),
            *("--constraint", str(CONSTRAINTS), *REQUIREMENTS),
        ]
        subprocess.run(argv, check=True)
        unfinished.rename(done)
    return done


def _checkout() -> list[str]:
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=REPO, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (REPO / name).exists()]


def _archive(source: Path, names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            tar.add(source / name, arcname=name, filter=_roots)
    return buffer.getvalue()


def _roots(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main(words: list[str]) -> int:
    with Lab.create() as lab:
        [host] = lab.up(SPEC)
        install(host)
        return subprocess.run(host.exec_argv(command(*words)), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
