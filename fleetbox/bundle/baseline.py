"""Compiles the strictest baseline, which is installed on hosts with the host program; part of `make setup`.

    python -m fleetbox.bundle.baseline

It plans no checks: nothing that a check could say may make a host leave it for something wider.
"""

from pathlib import Path

from fleetbox import hostside
from fleetbox.bundle.build import Bundle, build
from fleetbox.hostside.baseline import FILE
from fleetbox.policy import load_preset

POLICY = "baseline"


def compiled() -> Bundle:
    """The baseline's bundle: the same bytes on every machine."""
    return build([load_preset(POLICY)], {})


def write(path: Path) -> None:
    """Write it, where it is not there already."""
    tar = compiled().tar
    if not path.is_file() or path.read_bytes() != tar:
        temporary = path.with_suffix(".new")
        temporary.write_bytes(tar)
        temporary.replace(path)


if __name__ == "__main__":
    write(Path(hostside.__file__).parent / FILE)
