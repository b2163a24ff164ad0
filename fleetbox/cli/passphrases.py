"""Passphrases and PINs: from a descriptor or the terminal, never from the command line or environment."""

import os
import sys
from collections.abc import Callable

import click

from fleetbox.errors import UsageError

_LIMIT = 4096


def asker(fd: int | None) -> Callable[[str], str]:
    """How to get a secret by its name. A descriptor is read once, and answers every question."""
    if fd is None:
        return _ask
    secret = _from(fd)
    return lambda _name: secret


def new_passphrase(fd: int | None) -> str:
    """A passphrase for a new key, asked for twice; may be empty on a descriptor only."""
    if fd is not None:
        return _from(fd)
    _need_terminal("passphrase of the new key")
    secret: str = click.prompt(
        "passphrase of the new key", hide_input=True, confirmation_prompt=True, err=True
    )
    return secret


def _ask(name: str) -> str:
    _need_terminal(name)
    secret: str = click.prompt(name, hide_input=True, err=True)
    return secret


def _need_terminal(name: str) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{name}: there is no terminal to ask on",
            hint="give it on a descriptor: --passphrase-fd 3 3<FILE",
        )


def _from(fd: int) -> str:
    try:
        with os.fdopen(os.dup(fd), "rb") as file:
            data = file.read(_LIMIT + 1)
        if len(data) > _LIMIT:
            raise UsageError(f"what descriptor {fd} gives is longer than a passphrase can be")
        return data.decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"no passphrase can be read from descriptor {fd}: {problem}") from problem
