"""What each word of a GPU map may be: the launcher's own rules, for what specs and libraries say."""

from __future__ import annotations

import re
from collections.abc import Callable

TEXT_MAX = 500
VALUE_MAX = 32 * 1024  # bytes, as in a launch plan
_PATH_MAX = 4095
_NAME_MAX = 255
_CONTROL = re.compile("[\x00-\x1f\x7f]")

Check = Callable[[str], bool]


def is_path(text: str) -> bool:
    """What the launcher takes for one: absolute, no empty, `.` or `..` component, no control character."""
    if not text.startswith("/") or _CONTROL.search(text) or not _encodable(text):
        return False
    names = text[1:].split("/")
    fits = len(text.encode()) <= _PATH_MAX and all(len(name.encode()) <= _NAME_MAX for name in names)
    return text == "/" or (fits and not {"", ".", ".."} & set(names))


def is_node(text: str) -> bool:
    return text.startswith("/dev/") and is_path(text)


def is_value(text: str) -> bool:
    return not _CONTROL.search(text) and _encodable(text) and len(text.encode()) <= VALUE_MAX


def is_text(text: str) -> bool:
    return 0 < len(text) <= TEXT_MAX and text.isprintable()


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _like(pattern: str) -> Check:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


_NUMBER = "0|[1-9][0-9]{0,%d}"
_LABEL = "[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?"
is_uuid = _like("MIG-[0-9A-Za-z/-]{1,90}")
is_pci = _like(r"([0-9a-f]{4}|[1-9a-f][0-9a-f]{4,7}):[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
is_label = _like(_LABEL)
is_device_name = _like("[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?")
is_variable = _like("[A-Za-z_][A-Za-z0-9_]{0,127}")
_is_qualified = _like(rf"{_LABEL}/{_LABEL}=[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?")
_is_number = _like(_NUMBER % 9)
_is_device_number = _like(f"-|{_NUMBER % 9}")
_is_source = _like(r"/(etc|var/run)/cdi/[^/]*\.(json|yaml)")

# Record → what each of its words must be; the order is that of the file.
RECORDS: dict[str, tuple[Check, ...]] = {
    "mig": (is_uuid, is_pci, _is_number, _is_number),
    "source": (lambda text: _is_source(text) and is_path(text), _like(_NUMBER % 17), _like("-|[0-9a-f]{8}")),
    "device": (_is_qualified,),
    "node": (is_node, is_node, _is_device_number, _is_device_number),
    "mount": (is_path, is_path),
    "env": (is_variable, is_value),
    "group": (_is_number,),
    "refused": (_is_qualified, is_text),
    "note": (is_text,),
}
PARTS = ("node", "mount", "env", "group")
