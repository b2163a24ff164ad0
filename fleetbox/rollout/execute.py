"""Many hosts at once: a bounded pool, where one bad host never holds up the others.

^C stops what has not begun and lets what runs finish: a host in the middle of an activation is left to end
it, within its own time limits. A second ^C gives up the report.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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

    def one(host: Host) -> Result | None:
        if stop.is_set():
            return None
        progress.started(host)
        try:
            result = _with_transport(host, work)
        except Exception as error:  # noqa: BLE001 (the per-host boundary: the others go on)
            result = failed(host, error)
        progress.finished(host, result)
        return result

    with _stopped_by_interrupt() as stop, ThreadPoolExecutor(min(forks, len(hosts)) or 1) as pool:
        futures = [pool.submit(one, host) for host in hosts]
    results = [(host, future.result()) for host, future in zip(hosts, futures, strict=True)]
    return Done(results, interrupted=stop.is_set())


def _with_transport(host: Host, work: Callable[[Host, Transport], Result]) -> Result:
    transport = connect(host)
    try:
        return work(host, transport)
    finally:
        transport.close()


@contextmanager
def _stopped_by_interrupt() -> Iterator[threading.Event]:
    """An event that the first ^C sets; the second raises KeyboardInterrupt as ever.

    A handler, because an exception between two instructions could lose a host that has just been begun.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def interrupted(_signal: int, _frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
