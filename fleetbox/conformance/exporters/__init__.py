"""One pure function per format, from a run to bytes; `FORMATS` names them for `--report`."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from fleetbox.conformance.exporters import json_report, junit
from fleetbox.conformance.model import Run

FORMATS: Mapping[str, Callable[[Run], bytes]] = MappingProxyType(
    {"json": json_report.export, "junit": junit.export}
)
