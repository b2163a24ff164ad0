"""Hosts that cannot make a sandbox, each for a reason of its own."""

from tests.support.hosts.spec import HostSpec

GATED = (
    HostSpec.of("enospc", userns="ENOSPC"),
    HostSpec.of("eperm", userns="EPERM"),
    HostSpec.of("einval", userns="EINVAL"),
    HostSpec.of("wsl1", userns="EINVAL", hooks=["wsl1"]),
    HostSpec.of("masked", hooks=["masked-proc"]),
)
