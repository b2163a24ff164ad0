"""Stand-ins for the libraries of GPU vendors, compiled here: no driver, and so no real library, could be had.

They open the nodes that the real ones open and answer with the real error numbers; what they show beyond that
is in a list (standin.h). A check that passes with them has not been seen with a real GPU.
"""

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_SOURCES = Path(__file__).parent
NAMES = {"cuda": "libcuda.so.1", "hip": "libamdhip64.so", "level_zero": "libze_loader.so.1"}
LIST = "/usr/share/fleetbox-standin/gpus"


class Row(NamedTuple):
    """One GPU that a stand-in finds if it can open its node; `hang` as node makes it hang."""

    node: str
    uuid: str = "0" * 32
    pci: str = "-"
    name: str = "Stand-in"


def build(library: str, folder: Path) -> Path:
    """Compile one of NAMES into `folder`."""
    path = folder / NAMES[library]
    flags = ["-std=gnu17", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    subprocess.run(["cc", *flags, "-o", str(path), str(_SOURCES / f"{library}.c")], check=True)
    return path


def listed(rows: Iterable[Row]) -> str:
    """The list as the stand-ins read it."""
    return "".join(
        f"{row.node} {row.uuid.replace('-', '').removeprefix('GPU')} {row.pci} {row.name.replace(' ', '_')}\n"
        for row in rows
    )
