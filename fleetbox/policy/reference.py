"""The table of all fields in `docs/policy.md`, generated from the model between two markers."""

import sys
from collections.abc import Iterable, Iterator
from enum import EnumType, StrEnum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from fleetbox.policy.model import Policy, Section, mutability

BEGIN = "<!-- begin: fields, from fleetbox/policy/model.py by make generate -->"
END = "<!-- end: fields -->"


def rewritten(document: str) -> str:
    """`document` with the table between the markers as the model has it now."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}{END}{after}"


def table() -> str:
    rows = [_row(name, info) for name, info in _fields(Policy, "")]
    head = ["| field | values | default | takes effect | means |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def _fields(model: type[Section], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, info in sorted(model.model_fields.items(), key=lambda item: _place(item[0])):
        key = prefix + (info.alias or name)
        inner = _section(info.annotation)
        if inner is None:
            yield key, info
        else:
            yield from _fields(inner, f"{key}[]." if get_origin(info.annotation) is tuple else f"{key}.")


def _place(name: str) -> int:
    """The head comes first, although a class lists what it inherits before its own fields."""
    head = ("api_version", "kind", "metadata", "extends")
    return head.index(name) if name in head else len(head)


def _section(annotation: Any) -> type[Section] | None:
    candidates = get_args(annotation)[:1] if get_origin(annotation) is tuple else (annotation,)
    found = candidates[0] if candidates else None
    return found if isinstance(found, type) and issubclass(found, Section) else None


def _row(field: str, info: FieldInfo) -> str:
    when = "at once" if mutability(field) == "live" else "next launch"
    cells = (f"`{field}`", _values(info.annotation), _default(info), when, info.description or "")
    return "| " + " | ".join(cells) + " |"


def _values(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, EnumType):
        members: Iterable[StrEnum] = annotation
        return ", ".join(f"`{member.value}`" for member in members)
    if origin is Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    if origin is Annotated:
        return _values(arguments[0])
    if origin is tuple:
        return f"list of {_values(arguments[0])}"
    if origin in (Union, UnionType):
        return " or ".join(_values(a) for a in arguments if a is not type(None))
    return {bool: "`true`, `false`", int: "number", dict: "names and texts"}.get(origin or annotation, "text")


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "(required)"
    if info.default in (None, (), "", {}):
        return ""
    if isinstance(info.default, tuple):
        return ", ".join(f"`{entry}`" for entry in info.default)
    return f"`{str(info.default).lower()}`"


if __name__ == "__main__":
    sys.stdout.write(rewritten(sys.stdin.read()))
