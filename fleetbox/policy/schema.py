"""The JSON Schema of a policy, generated from the model: `docs/policy.schema.json`, for editors and CI.

It says less than `load_policy`: what a path or a host may be, and what contradicts what, no schema can say.
"""

import json
import sys
from typing import Any

from fleetbox.policy.model import Policy

_ID = "urn:fleetbox:policy:v1"


def json_schema() -> dict[str, Any]:
    """A JSON Schema, draft 2020-12, for one policy document."""
    schema = Policy.model_json_schema(by_alias=True)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": _ID}
    cleaned: dict[str, Any] = _plain(schema)
    return head | cleaned | {"title": "fleetbox policy", "description": "What a workload may do on a host."}


def _plain(part: Any) -> Any:
    """A part without pydantic's titles, and without null: an optional field is absent, never empty."""
    if isinstance(part, list):
        return [_plain(item) for item in part]
    if not isinstance(part, dict):
        return part
    cleaned = {key: _plain(value) for key, value in part.items() if not _is_noise(key, value)}
    choices = [choice for choice in cleaned.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        del cleaned["anyOf"]
        cleaned |= choices[0]
    return cleaned


def _is_noise(key: str, value: Any) -> bool:
    """Titles repeat the key, and the default of a section repeats those of its fields."""
    return (key == "title" and isinstance(value, str)) or (key == "default" and not _is_leaf(value))


def _is_leaf(value: Any) -> bool:
    return value is not None and (value == {} or not isinstance(value, dict))


def text() -> str:
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
