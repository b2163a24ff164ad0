"""JSON: the run as it is, with the two numbers worked out. Schema `fleetbox.run/v1`."""

import json

from fleetbox.conformance import judge
from fleetbox.conformance.model import Run

SCHEMA = "fleetbox.run/v1"


def export(run: Run) -> bytes:
    """One indented document; severities are added to the results, as readers have no catalogue."""
    document = run.model_dump(mode="json")
    for record, host in zip(document["hosts"], run.hosts, strict=True):
        for written, result in zip(record["results"], host.results, strict=True):
            written["severity"] = result.severity.value
    tally = judge.tally_run(run)
    totals = {"score": tally.score, "coverage": tally.coverage}
    return (json.dumps({"schema": SCHEMA, **document, **totals}, indent=2) + "\n").encode()
