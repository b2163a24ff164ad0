"""Amounts with units: `16GiB` of memory, `4h30m` of time.

A policy keeps them as text in the largest units that lose nothing, so `16384MiB` and `16GiB` are one digest.
"""

import re

from fleetbox.policy.paths import fail

_MEMORY = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}
_TIME = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_MEMORY_TEXT = re.compile(r"([1-9][0-9]{0,8})(KiB|MiB|GiB|TiB)")
_TIME_TEXT = re.compile(r"(?=[0-9])(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")


def memory_bytes(text: str) -> int:
    found = _MEMORY_TEXT.fullmatch(text)
    if not found:
        raise fail("not an amount of memory", "write a number with KiB, MiB, GiB or TiB: 16GiB")
    return int(found[1]) * _MEMORY[found[2]]


def parse_memory(text: str) -> str:
    size = memory_bytes(text)
    unit = next(name for name, factor in _MEMORY.items() if size % factor == 0)
    return f"{size // _MEMORY[unit]}{unit}"


def duration_seconds(text: str) -> int:
    found = _TIME_TEXT.fullmatch(text)
    counts = found.groups(default="0") if found else ()
    seconds = sum(int(count) * factor for count, factor in zip(counts, _TIME.values(), strict=False))
    if not seconds:
        raise fail("not a length of time", "write numbers with d, h, m or s: 4h, 1h30m")
    return seconds


def parse_duration(text: str) -> str:
    seconds = duration_seconds(text)
    canonical = ""
    for unit, factor in _TIME.items():
        count, seconds = divmod(seconds, factor)
        canonical += f"{count}{unit}" if count else ""
    return canonical
