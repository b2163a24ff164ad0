"""The files that make up the host program, and the two short ones that start it.

Read on the control machine only. `stream` sends our own modules along with a verb, leaving nothing behind,
and with verb `install` the whole archive; `python -m fleetbox.hostside.payload DIRECTORY` lays it out here.
What is vendored is most of the bytes and for `verify` alone, which no streamed verb needs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from fleetbox.hostside import ustar
from fleetbox.hostside.baseline import FILE as BASELINE

MAIN = """from fleetbox.hostside.__main__ import main
raise SystemExit(main(__import__("sys").argv[1:]))
"""

_HOSTSIDE = Path(__file__).resolve().parent
_PACKAGE = _HOSTSIDE.parent
_VENDORED = _HOSTSIDE / "_vendor"


def sources() -> dict[str, bytes]:
    """Path below the prefix → content, of every module of our own; sorted, without caches."""
    own = (path for path in _HOSTSIDE.rglob("*.py") if not path.is_relative_to(_VENDORED))
    return _read([_PACKAGE / "__init__.py", *own])


def files() -> dict[str, bytes]:
    """Path below the prefix → content, of what is installed. Raises FileNotFoundError before `make setup`."""
    if not (_VENDORED / "__init__.py").exists():
        raise FileNotFoundError(f"{_VENDORED} is not built: run `make setup`")
    built = [*_VENDORED.rglob("*.py"), _PACKAGE / "hostside" / BASELINE]
    return {"__main__.py": MAIN.encode("ascii"), **sources(), **_read(built)}


def archive() -> bytes:
    """The installed tree as one tar, for the stdin of verb `install`."""
    return ustar.write(files().items())


def _read(paths: Iterable[Path]) -> dict[str, bytes]:
    return {str(path.relative_to(_PACKAGE.parent)): path.read_bytes() for path in sorted(paths)}


def lay_out(directory: Path) -> None:
    """Write the installed tree below `directory`, which must be empty or missing."""
    for name, content in files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
