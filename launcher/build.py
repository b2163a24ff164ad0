"""Builds the launcher into the package: `fleetbox/bin/fleetbox-run-linux-<arch>`.

Owns the compiler flags and nothing else. The compiler is Zig's, from PyPI: one wheel that makes static musl
programs for both architectures, byte for byte the same anywhere. Without it `cc -static-pie` builds the one
for this machine. Nothing is built while sources, flags and version are what they were.
"""

import argparse
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parent
OUTPUT = REPO / "fleetbox" / "bin"
CACHE = REPO / "build" / "zig"
ARCHITECTURES = ("x86_64", "aarch64")

WARNINGS = (
    *("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow", "-Wstrict-prototypes"),
    *("-Wmissing-prototypes", "-Wformat=2", "-Wundef", "-Wvla", "-Wcast-align"),
)
FLAGS = (
    *("-std=c11", "-D_GNU_SOURCE", "-O2", "-fno-strict-aliasing", "-fstack-protector-strong"),
    # Zig traps undefined behaviour by itself only in debug builds; overflow must never wrap silently.
    *("-fno-common", "-ftrapv", "-fPIE", "-s", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"),
)


def sources() -> list[Path]:
    """All C files, in an order that does not depend on the file system."""
    return sorted(HERE.glob("*.c"))


def version() -> str:
    """The package's version, read without importing the package."""
    text = (REPO / "fleetbox" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if not found:
        sys.exit("launcher/build.py: fleetbox/__init__.py does not say __version__")
    return found[1]


def compiler(arch: str) -> list[str]:
    """The command that makes a static, position-independent program for `arch`: Zig's before the system's."""
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc", "-target", f"{arch}-linux-musl", "-static", "-pie"]
    if arch == platform.machine() and shutil.which("cc"):
        return ["cc", "-static-pie"]
    sys.exit(
        f"launcher/build.py: no compiler for {arch}: pip install ziglang, or build on that machine with cc"
    )


def fingerprint(command: list[str]) -> str:
    """Changes whenever what is built would: command, sources, headers."""
    digest = hashlib.sha256("\0".join(command).encode())
    for path in sorted([*HERE.glob("*.c"), *HERE.glob("*.h")]):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def build(arch: str) -> Path:
    """Build for one architecture if need be; returns the program. Paths are relative: they end up in it."""
    target = OUTPUT / f"fleetbox-run-linux-{arch}"
    stamp = CACHE.parent / f"{target.name}.stamp"
    command = [
        *compiler(arch),
        *FLAGS,
        *WARNINGS,
        f'-DFLEETBOX_VERSION="{version()}"',
        *[path.name for path in sources()],
    ]
    wanted = fingerprint(command)
    if target.exists() and stamp.exists() and stamp.read_text() == wanted:
        return target
    OUTPUT.mkdir(parents=True, exist_ok=True)
    stamp.parent.mkdir(exist_ok=True)
    fresh = OUTPUT / f"{target.name}.{os.getpid()}"
    caches = {"ZIG_GLOBAL_CACHE_DIR": str(CACHE), "ZIG_LOCAL_CACHE_DIR": str(CACHE)}
    done = subprocess.run([*command, "-o", str(fresh)], cwd=HERE, env={**os.environ, **caches}, check=False)
    if done.returncode != 0:
        fresh.unlink(missing_ok=True)
        sys.exit("launcher/build.py: the compiler failed")
    fresh.chmod(0o755)
    fresh.replace(target)
    stamp.write_text(wanted)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--arch", choices=ARCHITECTURES, action="append", help="repeatable; default: this machine's"
    )
    for arch in parser.parse_args().arch or [platform.machine()]:
        sys.stdout.write(f"{build(arch)}\n")


if __name__ == "__main__":
    main()
