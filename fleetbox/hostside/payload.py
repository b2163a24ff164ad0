"""The files that make up the host program, and the two short ones that start it.

Read on the control machine only. `stream` sends the modules along with a verb, leaving nothing behind, and
with verb `install` the whole archive; `python -m fleetbox.hostside.payload DIRECTORY` lays it out here.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fleetbox.hostside import ustar

MAIN = """from fleetbox.hostside.__main__ import main
raise SystemExit(main(__import__("sys").argv[1:]))
"""

_PACKAGE = Path(__file__).resolve().parent.parent


def sources() -> dict[str, bytes]:
    """Path below the prefix → content, of every module; sorted, without caches."""
    modules = [_PACKAGE / "__init__.py", *(_PACKAGE / "hostside").rglob("*.py")]
    return {str(path.relative_to(_PACKAGE.parent)): path.read_bytes() for path in sorted(modules)}


def files() -> dict[str, bytes]:
    """Path below the prefix → content, of the whole installed tree."""
    return {"__main__.py": MAIN.encode("ascii"), **sources()}


def archive() -> bytes:
    """The installed tree as one tar, for the stdin of verb `install`."""
    return ustar.write(files().items())


def lay_out(directory: Path) -> None:
    """Write the installed tree below `directory`, which must be empty or missing."""
    for name, content in files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
