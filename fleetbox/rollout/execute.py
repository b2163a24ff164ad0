"""Many hosts at once: a bounded pool, where one bad host never holds up the others.

^C stops what has not begun and lets what runs finish: a host in the middle of an activation is left to end
it, within its own time limits. A second ^C gives up waiting.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from fleetbox.fleet.inventory import Host
from fleetbox.transport import Transport, connect

Result = TypeVar("Result")
_Seen_contra = TypeVar("_Seen_contra", contravariant=True)


class Progress(Protocol[_Seen_contra]):
    """Told about each host from the threads that work: an implementation locks."""

    def started(self, host: Host) -> None: ...
    def finished(self, host: Host, result: _Seen_contra) -> None: ...


@dataclass(frozen=True)
class Done(Generic[Result]):
    """Results in the order of the hosts; None for a host that an interruption kept from being begun."""

    results: list[tuple[Host, Result | None]]
    interrupted: bool


def each(
    hosts: Sequence[Host],
    work: Callable[[Host, Transport], Result],
    *,
    failed: Callable[[Host, Exception], Result],
    forks: int,
    progress: Progress[Result],
) -> Done[Result]:
    """Connect to every host and do `work`; what is raised on the way becomes a result by `failed`."""

    def one(host: Host) -> Result:
        progress.started(host)
        try:
            result = _with_transport(host, work)
        except Exception as error:  # noqa: BLE001 (the per-host boundary: the others go on)
            result = failed(host, error)
        progress.finished(host, result)
        return result

    with ThreadPoolExecutor(max_workers=min(forks, len(hosts)) or 1) as pool:
        futures = [pool.submit(one, host) for host in hosts]
        interrupted = _wait(futures)
        results = [
            (host, None if future.cancelled() else future.result())
            for host, future in zip(hosts, futures, strict=True)
        ]
    return Done(results, interrupted)


def _with_transport(host: Host, work: Callable[[Host, Transport], Result]) -> Result:
    transport = connect(host)
    try:
        return work(host, transport)
    finally:
        transport.close()


def _wait(futures: Sequence[Future[Result]]) -> bool:
    """Wait for all; on ^C drop those not begun and wait for the rest. Says whether that happened."""
    try:
        _wait_all(futures)
    except KeyboardInterrupt:
        for future in futures:
            future.cancel()
        _wait_all(futures)
        return True
    return False


def _wait_all(futures: Sequence[Future[Result]]) -> None:
    pending = set(futures)
    while pending:
        _, pending = wait(pending, return_when=FIRST_COMPLETED)
