"""Hosts, as `ansible-inventory` selects them: one inventory for provisioning and for pushing.

By default Ansible succeeds on nothing when a pattern is mistyped; three variables make it an error, and
an empty answer is one too. Of a host's variables only what reaching it takes is kept, as others may be
secrets. What stays a template or a vault here, Ansible alone could read: it is refused by name.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fleetbox.errors import UsageError

_STRICT = {
    "ANSIBLE_HOST_PATTERN_MISMATCH": "error",
    "ANSIBLE_INVENTORY_UNPARSED_FAILED": "1",
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
}
# Ansible refuses to start where the locale is not UTF-8, and colours its errors.
_QUIET = {"LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_DEPRECATION_WARNINGS": "0"}
_TIMEOUT = 300.0
_ORIGIN = re.compile(r"Origin: (\S+:\d+:\d+)")
_DEFAULT_PYTHON = "/usr/bin/python3"
_CONNECTIONS = {"ssh": "ssh", "smart": "ssh", "paramiko": "ssh", "paramiko_ssh": "ssh", "local": "local"}


@dataclass(frozen=True, kw_only=True)
class Host:
    """A managed machine and how to reach it. `address` is what ssh is asked for, `name` what people say."""

    name: str
    address: str
    port: int | None = None
    user: str | None = None
    connection: str = "ssh"
    identity_file: str | None = None
    ssh_args: tuple[str, ...] = ()
    python: str = _DEFAULT_PYTHON
    groups: tuple[str, ...] = ()
    workload_user: str | None = None


def load(sources: Sequence[str | Path], limit: str | None = None) -> tuple[Host, ...]:
    """The hosts of the inventories (none: ansible.cfg's) that the pattern selects, by name.

    Raises UsageError when a source cannot be parsed, when any part of the pattern matches nothing, when no
    host is left, and when a connection variable is not a literal.
    """
    argv = [
        _ansible_inventory(),
        "--list",
        *(f"--inventory={source}" for source in sources),
        *([f"--limit={limit}"] if limit else []),
    ]
    answer = _ask(argv, limit)
    variables = answer.get("_meta", {}).get("hostvars", {})
    groups = _groups_by_host(answer)
    hosts = [_host(name, variables.get(name, {}), groups.get(name, ())) for name in {*variables, *groups}]
    if not hosts:
        selected = f"the pattern {limit!r} selects no host" if limit else "the inventory has no hosts"
        raise UsageError(selected, hint="fleetbox inventory list shows the hosts there are")
    return tuple(sorted(hosts, key=lambda host: host.name))


def _ansible_inventory() -> str:
    """The one of the same environment as this program, before any other on PATH."""
    beside = Path(sys.executable).parent / "ansible-inventory"
    found = str(beside) if beside.exists() else shutil.which("ansible-inventory")
    if not found:
        raise UsageError("ansible-inventory is not installed", hint="pip install ansible-core")
    return found


def _ask(argv: list[str], limit: str | None) -> dict[str, Any]:
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **_QUIET, **_STRICT},
    )
    if done.returncode != 0:
        what = f"the pattern {limit!r}" if limit and "host pattern" in done.stderr else "the inventory"
        unnamed = not any(word.startswith("--inventory=") for word in argv)
        raise UsageError(
            f"{what} is refused by Ansible: {_reason(done.stderr)}",
            hint=("name one with -i; " if unnamed else "") + f"repeat it with: {shlex.join(argv)}",
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _reason(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("[ERROR]")] or lines[-1:] or ["no reason given"]
    # Each plugin that tried says why it gave up; only one that knows a line is worth repeating.
    origin = next((match[1] for line in lines if (match := _ORIGIN.fullmatch(line))), None)
    where = f" ({origin})" if origin else ""
    return errors[0].removeprefix("[ERROR]:").strip() + where


def _groups_by_host(answer: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Each host's groups, those of its groups' parents included, as in Ansible's `group_names`."""
    found: dict[str, set[str]] = {}

    def visit(group: str, path: tuple[str, ...]) -> None:
        body = answer.get(group, {})
        for host in body.get("hosts", ()):
            found.setdefault(host, set()).update(path)
        for child in body.get("children", ()):
            visit(child, path if child == "ungrouped" else (*path, child))

    visit("all", ())
    return {host: tuple(sorted(groups)) for host, groups in found.items()}


def _literal(value: object) -> object:
    if isinstance(value, str) and any(mark in value for mark in ("{{", "{%", "{#")):
        raise ValueError("is templated")
    if isinstance(value, Mapping):
        raise ValueError("is vaulted" if "__ansible_vault" in value else "is not a literal")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_Text = Annotated[str | None, BeforeValidator(_literal)]
_Port = Annotated[int | None, Field(ge=1, le=65535), BeforeValidator(_literal)]


class _Variables(BaseModel):
    """The variables that say how to reach a host; all others are dropped unread."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    ansible_host: _Text = Field(None, validation_alias=AliasChoices("ansible_host", "ansible_ssh_host"))
    ansible_port: _Port = Field(None, validation_alias=AliasChoices("ansible_port", "ansible_ssh_port"))
    ansible_user: _Text = Field(None, validation_alias=AliasChoices("ansible_user", "ansible_ssh_user"))
    ansible_connection: _Text = None
    ansible_ssh_private_key_file: _Text = Field(
        None, validation_alias=AliasChoices("ansible_ssh_private_key_file", "ansible_private_key_file")
    )
    ansible_ssh_args: _Text = None
    ansible_ssh_common_args: _Text = None
    ansible_ssh_extra_args: _Text = None
    ansible_become_method: _Text = None
    ansible_become_user: _Text = None
    ansible_python_interpreter: _Text = None
    fleetbox_workload_user: _Text = None


def _host(name: str, raw: Mapping[str, Any], groups: Sequence[str]) -> Host:
    if not name.isprintable():
        raise UsageError(f"the host name {name!r} has characters that cannot be shown")
    try:
        variables = _Variables.model_validate(raw)
    except ValidationError as error:
        raise _refusal(name, error) from error
    if variables.ansible_become_method not in (None, "sudo", "ansible.builtin.sudo"):
        raise UsageError(f"{name}: ansible_become_method {variables.ansible_become_method!r} is not sudo")
    if variables.ansible_become_user not in (None, "root"):
        raise UsageError(f"{name}: ansible_become_user {variables.ansible_become_user!r} is not root")
    python = variables.ansible_python_interpreter
    return Host(
        name=name,
        address=variables.ansible_host or name,
        port=variables.ansible_port,
        user=variables.ansible_user,
        connection=_connection(name, variables.ansible_connection or "ssh"),
        identity_file=variables.ansible_ssh_private_key_file,
        ssh_args=_ssh_args(name, variables),
        # auto, auto_silent, …: discovery is Ansible's; the host program needs this one anyway.
        python=python if python and python.startswith("/") else _DEFAULT_PYTHON,
        groups=tuple(groups),
        workload_user=variables.fleetbox_workload_user,
    )


def _connection(name: str, plugin: str) -> str:
    known = _CONNECTIONS.get(plugin.removeprefix("ansible.builtin."))
    if known is None:
        raise UsageError(
            f"{name}: ansible_connection {plugin!r} is not supported",
            hint="ssh and local are; leave the host out with --limit",
        )
    return known


def _ssh_args(name: str, variables: _Variables) -> tuple[str, ...]:
    given = (variables.ansible_ssh_args, variables.ansible_ssh_common_args, variables.ansible_ssh_extra_args)
    try:
        return tuple(word for value in given for word in shlex.split(value or ""))
    except ValueError as error:
        raise UsageError(f"{name}: the ssh arguments cannot be split into words: {error}") from error


def _refusal(name: str, error: ValidationError) -> UsageError:
    first = error.errors()[0]
    variable = str(first["loc"][0])
    reason = first["msg"].removeprefix("Value error, ")
    return UsageError(
        f"{name}: the variable {variable} {reason}",
        hint="write a literal value: only Ansible can read templates and vaults",
    )
