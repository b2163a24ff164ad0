"""The bytes of a spec as plain values: objects, lists, texts, numbers, true, false and nothing else."""

from __future__ import annotations

import json
from typing import Any

from fleetbox.hostside.cdi import yaml_text
from fleetbox.hostside.cdi.fields import Object, Problem, SpecInvalid


def load(data: bytes, name: str) -> Any:
    """What a spec file called `name` says, by the format that its name has. Raises SpecInvalid."""
    try:
        text = data.decode()
    except UnicodeDecodeError as problem:
        raise SpecInvalid(Problem(f"byte {problem.start}", "is not UTF-8")) from None
    return yaml_text.load(text) if name.endswith(".yaml") else _json(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=Object)
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise SpecInvalid(Problem(where, f"is not JSON: {problem.msg}")) from None
    except RecursionError:
        raise SpecInvalid(Problem("the spec", "is nested too deeply")) from None
    except ValueError:
        # Pythons from 3.11 on refuse to convert numbers of thousands of digits.
        raise SpecInvalid(Problem("the spec", "has a number that is too long")) from None
