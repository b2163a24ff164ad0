"""The attackers' programs in C, built with the launcher's own compiler, and what every fault test counts."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
FULL = os.environ.get("FLEETBOX_FAULTS") == "full"


def built(name: str) -> Path:
    """The static program made of `name`.c; made again when its source is newer."""
    target = REPO / "build" / "faults" / name
    source = HERE / f"{name}.c"
    if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{name}.{os.getpid()}")
    cache = str(REPO / "build" / "zig")
    subprocess.run(
        [
            *(sys.executable, "-m", "ziglang", "cc", "-target", f"{os.uname().machine}-linux-musl"),
            *("-O1", "-static", "-Wall", "-Wextra", "-Werror", str(source), "-o", str(fresh)),
        ],
        check=True,
        env={**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache},
    )
    fresh.chmod(0o755)
    fresh.replace(target)
    return target


def scaled(quick: int, full: int) -> int:
    """How often: a little in `make test`, the whole count in `make faults`."""
    return full if FULL else quick
