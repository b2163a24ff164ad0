"""Probes: code that tries what a workload must not be able to do, beside what it must (docs/checks.md).

`run` answers one request of the control machine. It never changes the host's state: everything it needs is
planted, as the workload's user, and taken away again.
"""

from fleetbox.hostside.probes.launch import Installation
from fleetbox.hostside.probes.session import KNOWN, run

__all__ = ["KNOWN", "Installation", "run"]
