"""What computing with GPUs came to, and what a failure usually means in a sandbox. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from fleetbox.hostside.probes.outcome import Outcome

# By call of a library and number; what each was seen for in sandboxes.
_MEANS = {
    ("cuInit", 100): "no device: a node is missing or bound read-only, or CUDA_VISIBLE_DEVICES hides all",
    ("cuInit", 304): "the system refused: /dev/nvidia-uvm-tools, /sys, a thread's comm in /proc, AF_UNIX",
    ("cuInit", 803): "the library is not of the version of the loaded driver: reboot, or install it again",
    ("cuInit", 802): "not ready: nvidia-fabricmanager does not run",
    ("cuInit", 999): "the driver does not answer: nvidia-uvm is not loaded, or its node is stale",
    ("cuInit", 3): "not initialised: the driver's module is not loaded",
    ("hipInit", 100): "no device: /dev/kfd or the render node is missing or closed to this account",
    ("zeInit", 0x78000001): "no driver found a GPU: the render node is missing or closed to this account",
}  # fmt: skip

# Level Zero is asked which GPUs it sees; nothing is computed with it.
_ONLY_SHOWS = "libze_"


class Seen(NamedTuple):
    """One GPU as a library shows it; "" for what it does not say."""

    uuid: str
    pci: str
    name: str
    memory: int


class Computed(NamedTuple):
    """library: "" where none could be loaded; failed: call, number and name, or nothing."""

    library: str
    version: str
    failed: tuple[str, int, str] | None
    devices: tuple[Seen, ...]

    @property
    def missing(self) -> bool:
        """Whether there is no library to ask."""
        return not self.library

    def error(self) -> str:
        """The failed call with its number, its name and what it usually means; "" for none."""
        if not self.failed:
            return ""
        call, number, name = self.failed
        if self.missing:
            return f"library missing: {name}"
        means = _MEANS.get((call, number), "")
        numbered = f"{number} {name}".rstrip() if number > 0 else name
        return f"{call}: {numbered}" + (f" ({means})" if means else "")


def parsed(outcome: Outcome) -> Computed | None:
    """What `compute` said; None where it did not end by itself, or said something else."""
    if not outcome.ok:
        return None
    try:
        return of(json.loads(outcome.value))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def of(said: dict[str, object]) -> Computed:
    """Raises ValueError, TypeError or KeyError for another shape: another user's process said it."""
    failed, devices = said["failed"], said["devices"]
    if not isinstance(devices, list) or not isinstance(failed, (list, type(None))):
        raise TypeError("no answer of `compute`")
    return Computed(
        str(said["library"]), str(said["version"]), _failed(failed), tuple(_seen(one) for one in devices)
    )


def _failed(said: Sequence[object] | None) -> tuple[str, int, str] | None:
    if said is None:
        return None
    call, number, name = said
    if not isinstance(number, int):
        raise TypeError("an error has a number")
    return str(call), number, str(name)


def _seen(said: Sequence[object]) -> Seen:
    uuid, pci, name, memory = said
    if not isinstance(memory, int):
        raise TypeError("an amount of memory is a number")
    return Seen(str(uuid), str(pci), str(name), memory)


def describe(outcome: Outcome) -> str:
    """In a few words, for people."""
    answer = parsed(outcome)
    if answer is None:
        words = {"ETIMEDOUT": "hung and was killed"}
        return words.get(outcome.errno, outcome.describe())
    if answer.failed:
        return answer.error()
    if not answer.devices:
        return "no GPU was shown"
    count = f"{len(answer.devices)} GPU{'s' if len(answer.devices) != 1 else ''}"
    if answer.library.startswith(_ONLY_SHOWS):
        return f"{count} seen by Level Zero: {', '.join(seen.name for seen in answer.devices)}"
    names = ", ".join(f"{seen.name} with {seen.memory} MiB" for seen in answer.devices)
    return f"{count} computed: {names}"
