"""Where the shipped policies are: `policies/` of the repository, or inside the installed package."""

from pathlib import Path

import fleetbox


def directory() -> Path:
    package = Path(fleetbox.__file__).parent
    inside = package / "policies"
    return inside if inside.is_dir() else package.parent / "policies"


def names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in directory().glob("*.yml")))
