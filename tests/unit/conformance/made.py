"""Results, hosts and runs for tests, with only what matters named."""

from datetime import UTC, datetime
from typing import Any

from fleetbox.conformance.model import HostRecord, HostState, Result, Run, Status

WHEN = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64


def result(check: str = "FBX-FS-001", status: Status = Status.PASS, **more: Any) -> Result:
    return Result(check_id=check, status=status, **more)


def host(
    name: str = "gpu1", *results: Result, state: HostState = HostState.ANSWERED, **more: Any
) -> HostRecord:
    return HostRecord(name=name, state=state, policy="base", intended=DIGEST, results=results, **more)


def run(*hosts: HostRecord, run_id: str = "0199-aa") -> Run:
    return Run(
        run_id=run_id, started=WHEN, finished=WHEN, fleetbox_version="0.1.0", trigger="verify", hosts=hosts
    )
