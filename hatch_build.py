"""What a wheel carries beside the package: presets, and the Ansible collection where Ansible looks for it.

An editable install gets none of it: the repository itself is the source there, and a copy in
site-packages would go stale without a word.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COLLECTION = "ansible_collections/fleetbox/sandbox"
BUILT = {
    "fleetbox/bin": "fleetbox-run-*",
    "fleetbox/hostside": "baseline.tar",
    "fleetbox/hostside/_vendor": "__init__.py",
}
INCLUDED = {
    "policies": "fleetbox/policies",
    "galaxy.yml": f"{COLLECTION}/galaxy.yml",
    "meta": f"{COLLECTION}/meta",
    "roles": f"{COLLECTION}/roles",
    "playbooks": f"{COLLECTION}/playbooks",
}


class CarryCollection(BuildHookInterface[Any]):
    """Adds `INCLUDED` to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root = Path(self.root)
        for folder, pattern in BUILT.items():
            if not any((root / folder).glob(pattern)):
                raise FileNotFoundError(
                    f"{folder} holds no {pattern}: run `make setup` before building a wheel"
                )
        build_data["force_include"] |= {str(root / source): target for source, target in INCLUDED.items()}
