"""The variable tables in roles' READMEs, generated from `meta/argument_specs.yml` between two markers.

`make generate` writes them; `tests/contract/test_roles.py` compares. One surprise: an option without
a default in the specification would print as required, because that is what Ansible makes of it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"
BEGIN = "<!-- begin: variables, from meta/argument_specs.yml by make generate -->"
END = "<!-- end: variables -->"


def roles() -> list[Path]:
    """Every role's folder, by name."""
    return sorted(path.parent.parent for path in ROLES.glob("*/meta/argument_specs.yml"))


def options(role: Path) -> dict[str, dict[str, Any]]:
    """The options of the role's entry point `main`, as Ansible validates them."""
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    return dict(specs["main"]["options"])


def table(role: Path) -> str:
    """The Markdown table of a role's variables; one sentence when it has none."""
    rows = [_row(name, option) for name, option in options(role).items()]
    if not rows:
        return "None."
    return "\n".join(["| variable | type | default | means |", "|---|---|---|---|", *rows])


def _row(name: str, option: dict[str, Any]) -> str:
    default = f"`{json.dumps(option['default'])}`" if "default" in option else "required"
    means = re.sub(r"C\(([^)]*)\)", r"`\1`", " ".join(option["description"]))
    return f"| `{name}` | {option['type']} | {default} | {means} |"


def generated() -> dict[Path, str]:
    """What each README must contain, by path; raises ValueError for one without the markers."""
    return {role / "README.md": _readme(role) for role in roles()}


def _readme(role: Path) -> str:
    text = (role / "README.md").read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{role / 'README.md'}: no markers {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{table(role)}\n{END}{after}"
