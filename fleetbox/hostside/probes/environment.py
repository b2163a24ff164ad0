"""Probes of what a workload inherits (FBX-ENV).

The secrets are put into the environment of *both* sides, and one more descriptor is left open for both, so
the control shows that without the sandbox they arrive.
"""

from __future__ import annotations

import fnmatch

from fleetbox.hostside.probes.outcome import Attempt
from fleetbox.hostside.probes.scene import Scene
from fleetbox.hostside.probes.trial import Asked, Denied, Params, Prepared

SECRETS = ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "SSH_AUTH_SOCK")
# Variables whose value nothing in the launch depends on: one that the policy passes shows that passing works.
HARMLESS = ("TZ", "TERM", "LC_FLEETBOX", "COLORTERM", "EDITOR")


def planted(scene: Scene, params: Params) -> dict[str, str]:
    """Variables to start both sides with. `params.pass`: the patterns that the policy passes on."""
    passing = next((name for name in HARMLESS if _passed(name, params)), None)
    secrets = {name: f"secret-{name}-{scene.token}" for name in SECRETS if not _passed(name, params)}
    return {**secrets, **({passing: "passed-" + scene.token} if passing else {})}


def _passed(name: str, params: Params) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in params.get("pass", ()))


def clean(scene: Scene, asked: Asked) -> Prepared:
    """FBX-ENV-001."""
    variables = planted(scene, asked.params)
    secrets = [name for name in SECRETS if name in variables]
    targets = [Attempt("see_variable", {"name": name, "value": variables[name]}) for name in secrets]
    targets.append(Attempt("see_descriptor", {"link": asked.descriptor}))
    passing = [
        Attempt("see_variable", {"name": n, "value": v}) for n, v in variables.items() if n not in secrets
    ]
    return Denied(
        "no secret and no open file is inherited", targets, [Attempt("own_descriptors", {}), *passing]
    )
