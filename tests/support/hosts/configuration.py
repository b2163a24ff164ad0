"""What a controller reads to reach a lab's hosts: Ansible's inventory, known_hosts and ssh's configuration.

Hosts are trusted by the keys they were given before they started, never by first sight.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.hosts import identity
from tests.support.hosts.host import Host
from tests.support.hosts.state import LabState

USER = "dev"


def write(lab: LabState) -> None:
    """Rewrite inventory, known_hosts and ssh_config from the hosts on disk."""
    with lab.changing():
        hosts = [Host.load(lab, state) for state in lab.each_host()]
        known = [f"{host.address} {identity.public_host_key(host.state)}\n" for host in hosts]
        _replace(lab.known_hosts, "".join(known))
        _replace(lab.inventory, yaml.safe_dump(_inventory(lab, hosts), sort_keys=False))
        _replace(lab.ssh_config, "".join(_ssh_config(lab, host) for host in hosts))


def _inventory(lab: LabState, hosts: Sequence[Host]) -> dict[str, Any]:
    shared = {
        "ansible_user": USER,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(lab.key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={lab.known_hosts} -o StrictHostKeyChecking=yes",
    }
    listed = {host.name: {"ansible_host": host.address} | host.spec.variables for host in hosts}
    groups: dict[str, Any] = {}
    for host in hosts:
        for group in host.spec.groups:
            groups.setdefault(group, {"hosts": {}})["hosts"][host.name] = {}
    return {"all": {"vars": shared, "hosts": listed, "children": groups}}


def _ssh_config(lab: LabState, host: Host) -> str:
    options = {
        "HostName": host.address,
        "User": USER,
        "IdentityFile": lab.key,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": lab.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": 10,
        "ServerAliveInterval": 5,
    }
    return f"Host {host.name}\n" + "".join(f"    {key} {value}\n" for key, value in options.items())


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)
