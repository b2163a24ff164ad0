"""How a command over many hosts shows where it is: one live block on a terminal, else one line per host.

On a terminal only hosts in trouble get a line that stays; the block has the others as a count.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from rich.console import Console
from rich.live import Live
from rich.text import Text

from fleetbox.cli.output import console, is_terminal, say
from fleetbox.fleet.inventory import Host
from fleetbox.rollout.execute import each
from fleetbox.transport import Transport

_Result = TypeVar("_Result")
_NAMES_SHOWN = 6


class HostProgress(Generic[_Result]):
    """Told by the working threads; see `rollout.execute.Progress`."""

    def __init__(
        self,
        total: int,
        width: int,
        describe: Callable[[_Result], str],
        trouble: Callable[[_Result], bool],
        terminal: Console | None,
    ) -> None:
        self._total = total
        self._width = width
        self._describe = describe
        self._trouble = trouble
        self._terminal = terminal
        self._lock = threading.Lock()
        self._running: dict[str, None] = {}
        self._ended = 0

    def started(self, host: Host) -> None:
        with self._lock:
            self._running[host.name] = None

    def finished(self, host: Host, result: _Result) -> None:
        with self._lock:
            self._running.pop(host.name, None)
            self._ended += 1
            line = f"{host.name:<{self._width}}  {self._describe(result)}"
            if self._terminal is None:
                say(line)
            elif self._trouble(result):
                self._terminal.print(line)

    def block(self) -> Text:
        """The live block: one line, however many hosts there are."""
        with self._lock:
            names = list(self._running)
        shown = " ".join(names[:_NAMES_SHOWN]) + (" …" if len(names) > _NAMES_SHOWN else "")
        return Text(f"{self._ended}/{self._total} done, {len(names)} running  {shown}", overflow="ellipsis")


@contextmanager
def show(
    hosts: "tuple[Host, ...]",
    describe: Callable[[_Result], str],
    trouble: Callable[[_Result], bool],
) -> Iterator[HostProgress[_Result]]:
    """Show progress over `hosts` on stderr while the block runs."""
    width = max(len(host.name) for host in hosts)
    if not is_terminal(sys.stderr):
        yield HostProgress(len(hosts), width, describe, trouble, None)
        return
    terminal = console()
    progress = HostProgress(len(hosts), width, describe, trouble, terminal)
    with Live(console=terminal, get_renderable=progress.block, refresh_per_second=8, transient=True):
        yield progress


def asked(
    hosts: Sequence[Host],
    ask: Callable[[Host, Transport], _Result],
    *,
    failed: Callable[[Host, Exception], _Result],
    not_asked: Callable[[Host], _Result],
    describe: Callable[[_Result], str],
    trouble: Callable[[_Result], bool],
    forks: int,
) -> list[_Result]:
    """What every host answers, in their order, with the progress shown; `not_asked` after an interruption."""
    with show(tuple(hosts), describe, trouble) as progress:
        done = each(hosts, ask, failed=failed, forks=forks, progress=progress)
    return [not_asked(host) if result is None else result for host, result in done.results]
