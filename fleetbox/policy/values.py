"""What one value of a field may be: a type for each kind of text, list and number, with its words of refusal.

Paths, destinations, devices and amounts have modules of their own; here they and the rest become types.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, WithJsonSchema

from fleetbox.policy import amounts, destinations, devices, paths

_MAX_TEXT = 4_096
_POLICY_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GPU = re.compile(
    r"[0-9]{1,3}|(?:GPU|MIG)-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|GPU-[0-9a-f]{16}"
    r"|(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]"
    r"|(?=.{1,128}\Z)[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]/[A-Za-z][A-Za-z0-9_-]*=[A-Za-z0-9][A-Za-z0-9_.:-]*"
)


def _policy_name(text: str) -> str:
    if not _POLICY_NAME.fullmatch(text):
        raise paths.fail("not a policy name", "use at most 63 lower-case letters, digits and inner dashes")
    return text


def _one_line(text: str) -> str:
    if not text.isprintable() or len(text) > _MAX_TEXT:
        raise paths.fail("not one line of text", f"use at most {_MAX_TEXT} printable characters")
    return text


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise paths.fail("not a variable's name", "use letters, digits and _: MY_SETTING")
    return text


def _variable_pattern(text: str) -> str:
    if text == "*":
        raise paths.fail("the whole environment", "name the variables: tokens travel in the others")
    if not _VARIABLE.fullmatch(text.removesuffix("*")):
        raise paths.fail("not a variable's name", "use a name, or a beginning and one *: LC_*")
    return text


def _variable_value(text: str) -> str:
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text) or len(text) > _MAX_TEXT:
        raise paths.fail(
            "not a variable's value", f"use at most {_MAX_TEXT} characters, no NUL and no surrogates"
        )
    return text


def _binary(text: str) -> str:
    paths.check_characters(text)
    if paths.is_glob(text):
        raise paths.fail("a pattern", "name each program")
    if "/" not in text and text not in (".", ".."):
        return text
    path = paths.parse(text)
    if path == "/" or path in paths.PLACEHOLDERS:
        raise paths.fail("not a program", "write a name such as git, or an absolute path")
    return path


def _extended(text: str) -> str:
    if "/" not in text and _POLICY_NAME.fullmatch(text):
        return text
    # The suffix keeps an error message from quoting a line of whatever file a policy points at.
    if not text.isprintable() or not text.endswith((".yml", ".yaml")):
        raise paths.fail("neither a preset nor a policy file", "name a preset, or a file that ends in .yml")
    return text


def _request_path(text: str) -> str:
    if not text.startswith("/") or not text.isprintable() or ".." in text.split("/"):
        raise paths.fail("not a request path", "begin with /; * matches within a segment, ** any number")
    return text


def _gpu_selection(value: object) -> object:
    """`all`, or what is selected as a tuple of texts; one selector may stand without a list."""
    if value == "all" or isinstance(value, bool) or value is None:
        return value
    chosen = value if isinstance(value, list | tuple) else [value]
    texts = [str(item) for item in chosen if isinstance(item, int | str) and not isinstance(item, bool)]
    if not texts or len(texts) < len(chosen) or not all(_GPU.fullmatch(text) for text in texts):
        raise paths.fail(
            "not a GPU selection",
            "use all, an index, GPU-<uuid>, MIG-<uuid>, a PCI address, a CDI name or a list",
        )
    return tuple(sorted(set(texts)))


PolicyName = Annotated[
    str, AfterValidator(_policy_name), Field(json_schema_extra={"pattern": f"^{_POLICY_NAME.pattern}$"})
]
Line = Annotated[str, AfterValidator(_one_line)]
Extended = Annotated[str, AfterValidator(_extended)]
Path = Annotated[str, AfterValidator(paths.parse)]
ProtectedName = Annotated[str, AfterValidator(paths.relative_name)]
HostName = Annotated[str, AfterValidator(destinations.parse_host)]
Port = Annotated[StrictInt, Field(ge=1, le=65_535)]
Sorted = AfterValidator(lambda values: values and tuple(sorted(set(values))))
Method = Literal["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
RequestPath = Annotated[str, AfterValidator(_request_path)]
Device = Annotated[str, AfterValidator(devices.parse_device)]
Binary = Annotated[str, AfterValidator(_binary)]
Memory = Annotated[str, AfterValidator(amounts.parse_memory)]
Duration = Annotated[str, AfterValidator(amounts.parse_duration)]
Variable = Annotated[str, AfterValidator(_variable)]
VariablePattern = Annotated[str, AfterValidator(_variable_pattern)]
VariableValue = Annotated[str, AfterValidator(_variable_value)]
GpuSelection = Annotated[
    Literal["all"] | tuple[str, ...],
    BeforeValidator(_gpu_selection),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["string", "integer"]},
                {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1},
            ]
        }
    ),
]
