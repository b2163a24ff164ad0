"""`--report FORMAT[:PATH]`: parsed before a host is contacted, written after the last one answered."""

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetbox.conformance.exporters import FORMATS
from fleetbox.conformance.model import Run
from fleetbox.errors import UsageError


@dataclass(frozen=True)
class Report:
    """Where one report goes; no path is stdout."""

    format: str
    path: Path | None

    def write(self, run: Run) -> None:
        """Replace the file as a whole, so that nobody reads half of it. Raises UsageError."""
        content = FORMATS[self.format](run)
        if self.path is None:
            sys.stdout.buffer.write(content)
            return
        try:
            _replace(self.path, content)
        except OSError as problem:
            raise UsageError(f"cannot write the report {self.path}: {problem.strerror}") from problem


def parse(texts: Sequence[str], *, stdout_taken: bool = False) -> tuple[Report, ...]:
    """Reports by their command line words. `stdout_taken`: data goes there already. Raises UsageError."""
    reports = tuple(_parse(text) for text in texts)
    if sum(report.path is None for report in reports) + stdout_taken > 1:
        raise UsageError("two reports would go to stdout", hint="give all but one a path: junit:results.xml")
    return reports


def _parse(text: str) -> Report:
    name, _, path = text.partition(":")
    if name not in FORMATS:
        raise UsageError(f"there is no report format {name!r}", hint=f"the formats are {', '.join(FORMATS)}")
    if path and not Path(path).absolute().parent.is_dir():
        raise UsageError(
            f"the folder of {path} does not exist", hint="reports are written to folders there are"
        )
    return Report(name, Path(path) if path and path != "-" else None)


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
        # mkstemp makes it 0600; a report is for whoever may read the folder.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
