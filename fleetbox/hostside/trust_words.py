"""The reasons why a host refuses what was sent to it, and what to do about each.

A table of its own, so that docs/host-trust.md and the tests can hold every code against it.
"""

from __future__ import annotations

from typing import Any

from fleetbox.hostside.errors import Exit, HostError

_RESIGN = "refresh the signatures (fleetbox trust status says which are due) and push again"
_OLDER = (
    "if the control machine was restored from a backup: fleetbox trust catch-up there, and push again; else"
    " treat it as an attack and find out who sent it"
)
_ATTACK = "push again from the control machine; refused again, treat it as an attack and find out who sent it"

# code: what to do
REFUSALS = {
    "no_anchor": "run the hostside role again with the trust anchors of this fleet",
    "expired": "compare this host's clock (date -u); if it is right, " + _RESIGN,
    "rolled_back_metadata": _OLDER,
    "wrong_key": "if the keys were changed, send the new root files along; else treat it as an attack",
    "below_threshold": "have the missing keys sign (fleetbox trust status says which), and push again",
    "mix_and_match": _ATTACK,
    "too_large": _ATTACK,
    "incomplete": "push again; if it is refused again, the repository lacks the file: publish it anew",
    "malformed": "push with the fleetbox version that set up this host, or run the hostside role again",
    "wrong_host": "compare host_id in /etc/fleetbox/host.json with the name that the control machine uses",
    "wrong_team": "assign a release of one of its teams, or change `teams` with the hostside role",
    "replayed": "assign again with a generation above the one in `floor`; going back is a higher one, too",
    "below_min_release": "assign a newer release; what is below min_release cannot come back",
    "unknown_release": "publish the release in the policy repository first",
    "digest_mismatch": _ATTACK,
    "floor_damaged": "compare it with a backup; removing it makes this host forget what it refused before,"
    " so do that only when the reason is known, and push again",
}


def refused(code: str, message: str, **answer: Any) -> HostError:
    """The refusal; `answer` is what the control machine needs to do better."""
    return HostError(code, message, hint=REFUSALS[code], exit_code=Exit.TAMPERED, answer=answer)
