"""The catalogue of checks: one file each below `checks/`, for docs, exporters and the command line.

Ids, severities and versions are decided in `hostside.checks`, which hosts have too; the files repeat them for
readers, and loading fails where the two differ.
"""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from fleetbox.conformance.model import CheckId, Severity
from fleetbox.hostside import checks

Parity = Literal["enforced", "partial", "impossible", "not_built"]
Sentence = Annotated[str, Field(min_length=20, max_length=600)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Platforms(_Frozen):
    """How far the platform can keep what the check asks for."""

    linux: Parity
    macos: Parity


class Mappings(_Frozen):
    """Identifiers of other catalogues."""

    nist_800_53: tuple[str, ...]
    attack: tuple[str, ...]
    atlas: tuple[str, ...]
    owasp_agentic: tuple[str, ...]


class Entry(_Frozen):
    """One check, for people. `proves` says what a pass shows, and what it does not."""

    id: CheckId
    version: int
    title: Annotated[str, Field(min_length=5, max_length=80)]
    severity: Severity
    since: str
    platforms: Platforms
    rationale: Sentence
    proves: Sentence
    remediation: Sentence
    mappings: Mappings


@cache
def load() -> Mapping[str, Entry]:
    """All entries by id, in the order of `hostside.checks`. Raises ValueError where the two disagree."""
    folder = resources.files("fleetbox.conformance") / "checks"
    files = [file for file in folder.iterdir() if file.name.endswith(".yml")]
    entries = {entry.id: entry for entry in (_entry(file.name, file.read_text("utf-8")) for file in files)}
    if entries.keys() != checks.BY_ID.keys():
        raise ValueError(f"catalogue and hosts differ: {sorted(entries.keys() ^ checks.BY_ID.keys())}")
    return {check.id: entries[check.id] for check in checks.CHECKS}


def _entry(name: str, text: str) -> Entry:
    entry = Entry.model_validate(yaml.safe_load(text))
    known = checks.BY_ID.get(entry.id)
    if name != f"{entry.id}.yml" or known != (entry.id, entry.severity, entry.version):
        raise ValueError(f"{name}: id, severity or version is not that of hostside/checks.py")
    return entry


def as_markdown() -> str:
    """docs/checks.md."""
    return "\n".join([_HEAD, *_table(), *(_section(entry) for entry in load().values())])


_HEAD = """\
# Checks

Written by `make generate` from `fleetbox/conformance/checks/`; edit those files.

Every check that expects a denial makes the same attempt outside the sandbox, as the same user, where it must
work, and an allowed one inside, which must work too. Without both the result is *inconclusive*, never a pass.
"""


def _table() -> list[str]:
    head = ["| check | title | severity | Linux | macOS |", "|---|---|---|---|---|"]
    rows = [
        f"| [{e.id}](#{e.id.lower()}) | {e.title} | {e.severity} | {_words(e.platforms.linux)} "
        f"| {_words(e.platforms.macos)} |"
        for e in load().values()
    ]
    return [*head, *rows, ""]


def _words(parity: str) -> str:
    return parity.replace("_", " ")


def _section(entry: Entry) -> str:
    mapped = {
        "NIST 800-53": entry.mappings.nist_800_53,
        "ATT&CK": entry.mappings.attack,
        "ATLAS": entry.mappings.atlas,
        "OWASP agentic": entry.mappings.owasp_agentic,
    }
    lines = [
        f"## {entry.id}",
        f"**{entry.title}** · {entry.severity} · version {entry.version} · since {entry.since}\n",
        f"*Why:* {entry.rationale}\n",
        f"*What a pass shows:* {entry.proves}\n",
        f"*What to do about a failure:* {entry.remediation}\n",
        " · ".join(f"{name}: {', '.join(ids)}" for name, ids in mapped.items() if ids) + "\n",
    ]
    return "\n".join(lines)
