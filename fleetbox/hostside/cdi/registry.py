"""All CDI devices of a host: those that can be used, those that are refused, and broken specs."""

from __future__ import annotations

from typing import NamedTuple

from fleetbox.hostside import paths
from fleetbox.hostside.cdi import folder, spec
from fleetbox.hostside.cdi.fields import SpecInvalid
from fleetbox.hostside.cdi.folder import SpecFile
from fleetbox.hostside.cdi.translate import short, translate
from fleetbox.hostside.gpu_map import Entry, Refused, Source
from fleetbox.hostside.paths import Places

_SHOWN_MAX = 50
_ROOT = 0


class Broken(NamedTuple):
    """A spec of which nothing is used, with everything that is wrong."""

    path: str
    problems: tuple[str, ...]


class Registry(NamedTuple):
    """What the specs of a host come to."""

    sources: tuple[Source, ...]
    devices: tuple[Entry, ...]
    broken: tuple[Broken, ...]
    notes: tuple[str, ...]


def read(places: Places, *, owner: int = _ROOT) -> Registry:
    """Everything in the directories of CDI; `owner` is the only uid whose specs are trusted.

    Raises HostError `cdi_too_many`.
    """
    sources: list[Source] = []
    broken: list[Broken] = []
    notes: dict[str, None] = {}
    devices: dict[str, Entry] = {}
    for directory in paths.CDI_DIRS:
        files, said = folder.files(places, directory, owner)
        sources += [file.source for file in files if file.source]
        notes.update(dict.fromkeys(map(short, said)))
        devices.update(_devices(files, broken, notes))
    notes.update((short(f"{path}: {problems[0]}{_more(problems)}"), None) for path, problems in broken)
    entries = tuple(devices[name] for name in sorted(devices))
    return Registry(tuple(sorted(sources)), entries, tuple(broken), tuple(sorted(notes)))


def _devices(files: list[SpecFile], broken: list[Broken], notes: dict[str, None]) -> dict[str, Entry]:
    """Those of one directory, where no spec wins over another."""
    found: dict[str, Entry] = {}
    origins: dict[str, str] = {}
    for file in files:
        if file.problem:
            broken.append(Broken(file.path, (file.problem,)))
            continue
        try:
            parsed = spec.parse(file.data, file.path)
        except SpecInvalid as problem:
            broken.append(Broken(file.path, tuple(map(str, problem.problems[:_SHOWN_MAX]))))
            continue
        for device in parsed.devices:
            entry, ignored = translate(parsed.edits, device)
            if device.name in found:
                conflict = f"{origins[device.name]} and {file.path} both define it; remove it from one"
                entry, ignored = Refused(device.name, short(conflict)), []
            found[device.name] = entry
            origins[device.name] = file.path
            notes.update((short(f"{file.path}: {text}"), None) for text in ignored)
    return found


def _more(problems: tuple[str, ...]) -> str:
    return f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
