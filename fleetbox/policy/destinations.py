"""Hosts that a policy may name as network destinations, in one spelling, the dangerous ones refused.

An address has many spellings: `2852039166`, `0xa9.0xfe.1` and `::ffff:169.254.169.254` all reach a cloud's
metadata service. So whatever ends in a number must be an address in its canonical form.
"""

import ipaddress
import re

from fleetbox.policy.paths import fail

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_NAME = 253
_METADATA_HINT = "remove it: what answers there hands out the machine's credentials"
_LOOPBACK_HINT = "remove it: the workload's own servers need no entry, and the host's stay closed"
_METADATA_NAMES = (
    "metadata.google.internal",
    "metadata.goog",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
    "metadata.platformequinix.com",
)
_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure's wire server
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS over IPv6
        "fd20:ce::254",  # Google over IPv6
    )
)


def parse_host(text: str) -> str:
    """The one spelling of a destination: lower case, a name, `*.name` or an address."""
    host = text.lower()
    if "://" in host:
        raise fail("a URL", "write the host name alone; ports, methods and paths have their own keys")
    if host.startswith("["):
        raise fail("an address in brackets", "write the address without [ ]")
    if "/" in host:
        raise fail("a host with a path", "write the host name alone and list paths under `paths`")
    if host.endswith("."):
        raise fail("a host with a trailing dot", "remove the dot")
    if not host.isascii():
        raise fail("a host name that is not ASCII", "write its xn-- form")
    if ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]):
        return _address(host)
    return _name(host)


def _address(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if host.count(":") == 1:
            raise fail("a host with a port", "list ports under `ports`") from None
        raise fail("not an address", "write an IPv4 address as four decimal numbers, or a name") from None
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
    if mapped in _METADATA or address in _METADATA or mapped.is_link_local:
        raise fail("a metadata address", _METADATA_HINT)
    if mapped.is_loopback or mapped.is_unspecified:
        raise fail("the host's own loopback", _LOOPBACK_HINT)
    if mapped.is_multicast or mapped.is_reserved:
        raise fail("not an address of one host", "write the address of one host")
    return str(address)


def _name(host: str) -> str:
    wildcard = host.startswith("*.")
    labels = host.removeprefix("*.").split(".")
    if host == "*" or (wildcard and len(labels) < 2):
        raise fail("a wildcard over everything", "write the domains that are needed: *.example.com")
    if "*" in "".join(labels):
        raise fail("a wildcard inside a name", "* stands alone in front: *.example.com")
    if len(host) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise fail("not a host name", "write a name such as api.example.com")
    if labels == ["localhost"] or labels[-1] == "localhost":
        raise fail("the host's own loopback", _LOOPBACK_HINT)
    if any(_covers(host, name) for name in _METADATA_NAMES):
        raise fail("a metadata address", _METADATA_HINT)
    return host


def _covers(host: str, name: str) -> bool:
    return host == name or (host.startswith("*.") and name.endswith(host[1:]))
