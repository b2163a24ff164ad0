"""A document's nodes as a `Policy`, with every violation at its place.

pydantic stops a model's own check when one of its fields is wrong. So what is wrong is cut out and the rest
is validated again, until nothing new turns up: an author sees all mistakes at once, and the checks that
span documents still run on what is left.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fleetbox.policy.errors import Violation
from fleetbox.policy.model import Policy
from fleetbox.policy.positions import Loc, Node, describe

_ROUNDS = 6
_HEAD = {"apiVersion": "fleetbox/v1", "kind": "SandboxPolicy"}
_UNNAMED = "unnamed"
_YAML11 = {"on": "true", "yes": "true", "y": "true", "off": "false", "no": "false", "n": "false"}
_TYPES = {
    "bool_type": ("neither true nor false", "write true or false"),
    "int_type": ("not a whole number", "write a number without quotes"),
    "string_type": ("not text", "put the value in quotes"),
    "dict_type": ("not a mapping", "write keys and values below it"),
    "model_type": ("not a mapping", "write keys and values below it"),
    "tuple_type": ("not a list", "write a list: [one, two], also for one entry"),
    "missing": ("missing", "add this key"),
    "too_short": ("an empty list", "name at least one entry, or remove the key"),
    "too_long": ("too many entries", "write fewer, broader ones"),
    "greater_than_equal": ("out of range", ""),
    "less_than_equal": ("out of range", ""),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Validated:
    """What could be read of a document. `broken` are the fields of which something had to be cut out."""

    policy: Policy
    node: Node
    broken: frozenset[str]


def validate(root: Node) -> tuple[Validated | None, list[Violation]]:
    """The policy in `root` without what is wrong in it, and the violations; None if nothing is left."""
    if not isinstance(root.value, Mapping):
        hint = "a policy begins with apiVersion: fleetbox/v1"
        return None, [root.position.violation("", "not a mapping", root.plain(), hint)]
    empty = list(_empty(root))
    violations = [_empty_violation(root, loc) for loc in empty]
    node = _cut(root, {_entry(loc) for loc in empty}) if empty else root
    broken = {describe(loc) for loc in empty}
    for _ in range(_ROUNDS):
        try:
            return Validated(Policy.model_validate(node.plain()), node, frozenset(broken)), violations
        except ValidationError as error:
            details = error.errors(include_url=False)
        own = [d for d in details if not (_is_emptied(root, node, d) or _is_misspelt(d, details))]
        violations += [_violation(root, node, detail) for detail in own]
        broken |= {describe(_target(detail)) for detail in details}
        node = _cut(node, {_removable(detail) for detail in details})
    return None, violations


def _empty(node: Node, at: Loc = ()) -> Iterator[Loc]:
    """Keys and entries without a value. pydantic would take one for `None`: no limit, any program."""
    if node.value is None:
        yield at
    elif isinstance(node.value, Mapping):
        for key, item in node.value.items():
            yield from _empty(item, (*at, key))
    elif isinstance(node.value, tuple):
        for i, item in enumerate(node.value):
            yield from _empty(item, (*at, i))


def _empty_violation(root: Node, loc: Loc) -> Violation:
    return root.key(loc).violation(describe(loc), "empty", hint="give it a value, or remove it")


def _cut(node: Node, locs: set[Loc]) -> Node:
    """`node` without what is at `locs`; what is missing in the head is replaced by something right."""
    left = node.without(locs)
    head = {key: Node(left.position, value) for key, value in _HEAD.items()}
    values = dict(left.value) if isinstance(left.value, Mapping) else {}
    metadata = values.get("metadata", Node(left.position, {}))
    if metadata.child("name") is None:
        named = dict(metadata.value) if isinstance(metadata.value, Mapping) else {}
        metadata = Node(metadata.position, named | {"name": Node(left.position, _UNNAMED)}, metadata.keys)
    return Node(left.position, head | values | {"metadata": metadata}, left.keys)


def _removable(detail: ErrorDetails) -> Loc:
    loc = _target(detail)
    return loc if detail["type"] == "extra_forbidden" else _entry(loc)


def _entry(loc: Loc) -> Loc:
    """The entry of a list goes as a whole: half a rule means something else."""
    for i, step in enumerate(loc):
        if isinstance(step, int):
            return loc[: i + 1]
    return loc


def _target(detail: ErrorDetails) -> Loc:
    """Where an error is, as nodes are addressed: without pydantic's own marks in it."""
    loc = tuple(step for step in detail["loc"] if step != "[key]")
    at = detail.get("ctx", {}).get("at")
    return (*loc, at) if at else loc


def _violation(whole: Node, root: Node, detail: ErrorDetails) -> Violation:
    loc = _target(detail)
    on_key = detail["type"] == "extra_forbidden" or "[key]" in detail["loc"]
    node = root.at(loc)
    position = root.key(loc) if on_key or detail["type"] == "missing" else node.position
    problem, hint = _explain(detail, loc)
    value = "" if detail["type"] == "missing" else str(loc[-1]) if on_key else node.plain()
    return position.violation(describe(_as_written(whole, root, loc)), problem, value, hint)


def _is_emptied(whole: Node, cut: Node, detail: ErrorDetails) -> bool:
    """Whether a list is only too short because its wrong entries do not count."""
    written = whole.at(_as_written(whole, cut, _target(detail)))
    return detail["type"] == "too_short" and written.value != ()


def _is_misspelt(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Whether a key is only missing because it was written as one that nobody knows."""
    if detail["type"] != "missing":
        return False
    *parent, name = detail["loc"]
    unknown = [d["loc"][-1] for d in details if d["type"] == "extra_forbidden" and [*d["loc"][:-1]] == parent]
    return bool(difflib.get_close_matches(str(name), [str(key) for key in unknown]))


def _as_written(whole: Node, cut: Node, loc: Loc) -> Loc:
    """`loc` of a document from which entries were cut, counted as its author counts."""
    written: list[str | int] = []
    for step in loc:
        below = cut.child(step)
        if isinstance(step, int) and below is not None and isinstance(whole.value, tuple):
            step = next(i for i, item in enumerate(whole.value) if item.position is below.position)  # noqa: PLW2901
        written.append(step)
        whole, cut = whole.child(step) or whole, below or cut
    return tuple(written)


def _explain(detail: ErrorDetails, loc: Loc) -> tuple[str, str]:
    """The problem and the hint for one of pydantic's errors."""
    ctx, value = detail.get("ctx", {}), detail["input"]
    problem, hint = _TYPES.get(detail["type"], (detail["msg"], "docs/policy.md says what is expected here"))
    match detail["type"]:
        case "fleetbox":
            problem, hint = str(ctx["problem"]), str(ctx["hint"])
        case "extra_forbidden":
            problem, hint = "unknown key", _nearest_key(loc)
        case "enum" | "literal_error":
            allowed = re.findall(r"'([^']*)'", str(ctx["expected"]))
            problem, hint = f"not one of {', '.join(allowed)}", _nearest(value, allowed)
        case "bool_type" if isinstance(value, str) and value.lower() in _YAML11:
            hint = f"write {_YAML11[value.lower()]}"
        case "string_type" if isinstance(value, int):
            hint = f'put it in quotes: "{str(value).lower()}"'
        case "too_long":
            problem = f"more than {ctx['max_length']} entries"
        case "greater_than_equal" | "less_than_equal":
            side = f"least {ctx['ge']}" if "ge" in ctx else f"most {ctx['le']}"
            hint = f"write a number that is at {side}"
        case _:
            pass  # _TYPES has said it
    return problem, hint


def _nearest(value: object, allowed: list[str]) -> str:
    text = str(value).lower()
    near = difflib.get_close_matches(text, allowed, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"write {' or '.join(allowed)}"


def _nearest_key(loc: Loc) -> str:
    known = sorted(keys_at(loc[:-1]))
    name = str(loc[-1])
    if name == "<<":
        return "YAML's merge key is not read; share sections with extends"
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    homes = sorted(path for path in _all_keys() if path.rpartition(".")[2] == name)
    return f"it belongs at {homes[0]}" if homes else f"known here: {', '.join(known)}"


def keys_at(loc: Loc) -> dict[str, Any]:
    """The keys that the schema knows at a place, each with its type."""
    annotation: Any = Policy
    for step in loc:
        model = _inner(annotation)
        if isinstance(step, str) and model is not None:
            annotation = _keys(model).get(step)
    model = _inner(annotation)
    return _keys(model) if model is not None else {}


def _keys(model: type[BaseModel]) -> dict[str, Any]:
    return {info.alias or name: info.annotation for name, info in model.model_fields.items()}


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The model inside `tuple[Model, ...]`, `Model | None` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, Annotated, Union, UnionType):
        found = (_inner(a) for a in get_args(annotation) if a not in (Ellipsis, NoneType))
        return next((model for model in found if model), None)
    return None


def _all_keys(model: type[BaseModel] = Policy, prefix: str = "") -> list[str]:
    names: list[str] = []
    for key, annotation in _keys(model).items():
        inner = _inner(annotation)
        names += [prefix + key, *(_all_keys(inner, f"{prefix}{key}.") if inner else [])]
    return names
