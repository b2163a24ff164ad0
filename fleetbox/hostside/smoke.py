"""The smoke checks of an activation: the critical ones, inside the sandbox that was just activated.

A pass means that the sandbox works and holds; `inconclusive` proves nothing either way and is reported
without undoing the activation, because it says more about the host's test set-up than about the policy.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from fleetbox.hostside import config
from fleetbox.hostside.checks import SMOKE
from fleetbox.hostside.errors import HostError
from fleetbox.hostside.manifest import Manifest
from fleetbox.hostside.paths import Places

_FAILURES = ("fail", "error")

Results = list[dict[str, Any]]
Smoke = Callable[[Manifest], Results]


def checks(places: Places) -> Smoke:
    """The function that runs the smoke checks of a bundle which has just become current.

    The configuration is read and the probes are loaded here, so that a fault of either is known before
    anything is switched.
    """
    user = config.load(places).workload_user
    run = import_module("fleetbox.hostside.probes").run

    def check(contents: Manifest) -> Results:
        try:
            return list(run(request(contents, user))["results"])
        except OSError as problem:
            raise HostError("smoke_failed", f"the critical checks could not run: {problem}") from problem

    return check


def none(_contents: Manifest) -> Results:
    """`--no-smoke`: nothing is checked, nothing is claimed."""
    return []


def request(contents: Manifest, user: str | None) -> dict[str, Any]:
    """What is asked of the probes: the critical checks planned for the default policy."""
    default = contents["default_policy"]
    planned = next(policy["checks"] for policy in contents["policies"] if policy["name"] == default)
    critical = [check for check in planned if check["id"] in SMOKE]
    return {"checks": critical, "user": user, "egress_peer": None, "policy": default}


def failures(results: Results) -> Results:
    """The results that undo an activation."""
    return [result for result in results if result["status"] in _FAILURES]


def describe(failed: Results) -> str:
    """One line that names what failed."""
    return "; ".join(f"{result['check_id']}: {result['message']}" for result in failed)
