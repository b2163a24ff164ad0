"""Whether test hosts work on this machine: a host is started and logged into, nothing is guessed from
versions.
"""

from __future__ import annotations

import subprocess
from functools import cache

from tests.support.hosts.errors import HostsError
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec


@cache
def problem(host: str = "check") -> str | None:
    """Why a host of this description (as on the command line) does not work here; None when it does."""
    try:
        with Lab.create() as lab:
            [one] = lab.up(HostSpec.parse(host))
            one.ssh(["sudo", "-n", "true"])
    except (HostsError, OSError) as error:
        return str(error)
    except subprocess.CalledProcessError as error:
        return f"ssh: {error.stderr.decode(errors='replace').strip()}"
    return None
