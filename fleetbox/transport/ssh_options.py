"""Which ssh options hold for a host: OpenSSH's own answer (`ssh -G`), so Include, Match and tokens are right.

An option that this program cannot honour is refused by name instead of being left out. One direction is
safe and therefore silent: host keys are checked strictly whatever StrictHostKeyChecking says.
"""

import os
import pwd
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleetbox.errors import UsageError
from fleetbox.transport.interface import Endpoint, clean

# `ssh -G` values that mean the option is off.
_OFF = frozenset({"", "none", "no", "false"})
# What would change how the host is reached or trusted, and is not built.
_REFUSED = {
    "proxycommand": "ProxyCommand",
    "knownhostscommand": "KnownHostsCommand",
    "bindaddress": "BindAddress",
    "bindinterface": "BindInterface",
    "pkcs11provider": "PKCS11Provider",
    "remotecommand": "RemoteCommand",
}
_INSTALL = "apt-get install openssh-client"
_TOKEN = re.compile(r"%(.)")


@dataclass(frozen=True)
class Login:
    """What to ask `ssh -G` about: one host, or one hop of a jump."""

    address: str
    port: int | None = None
    user: str | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class SshOptions:
    """The effective options that this program honours. `words` select the configuration for jumps."""

    hostname: str
    port: int
    user: str
    known_as: str
    known_hosts: tuple[Path, ...]
    identity_files: tuple[Path, ...]
    certificate_files: tuple[Path, ...]
    identities_only: bool
    agent: Path | None
    proxy_jump: str | None
    family: str
    connect_timeout: float | None
    keepalive: int
    host_key_algorithms: frozenset[str]
    ciphers: frozenset[str]
    macs: frozenset[str]
    kex: frozenset[str]
    jump_words: tuple[str, ...] = field(default=())


def for_endpoint(host: Endpoint) -> SshOptions:
    """The options for a host of the inventory. Raises UsageError naming the option nobody honours."""
    words = accepted_words(host.ssh_args, host.name)
    if host.identity_file:
        # Not -i: ssh drops the name of a file that is not there, although its agent key may be.
        words = ("-o", f'IdentityFile="{host.identity_file}"', *words)
    return resolve(Login(host.address, host.port, host.user, words))


def accepted_words(words: Sequence[str], host: str) -> tuple[str, ...]:
    """`-o K=V`, `-F FILE`, `-i FILE` and `-J HOP`, joined or apart; anything else is refused by name."""
    accepted: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        flag, value = word[:2], word[2:]
        if flag not in ("-o", "-F", "-i", "-J"):
            raise UsageError(
                f"{host}: ssh argument {word!r} is not understood",
                hint="ansible_ssh_common_args may hold -o, -F, -i and -J; write others into ssh_config",
            )
        if not value and not queue:
            raise UsageError(f"{host}: ssh argument {word!r} lacks its value")
        accepted += [flag, value or queue.pop(0)]
    return tuple(accepted)


def resolve(login: Login) -> SshOptions:
    """Ask `ssh -G`. Raises UsageError for what ssh itself or this program does not accept."""
    argv = [
        *("ssh", "-T", "-G", *login.words),
        *(["-p", str(login.port)] if login.port else []),
        *(["-l", login.user] if login.user else []),
        *("--", login.address),
    ]
    try:
        done = subprocess.run(argv, capture_output=True, check=False, timeout=30, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise UsageError("ssh is not installed on this machine", hint=_INSTALL) from error
    except subprocess.TimeoutExpired as error:
        hint = f"does a Match exec of ssh_config wait? {shlex.join(argv)}"
        raise UsageError(f"{login.address}: ssh -G does not answer", hint=hint) from error
    if done.returncode != 0:
        said = clean(done.stderr).strip().splitlines()
        reason = said[0].strip("\ufffd") if said else f"exit status {done.returncode}"
        raise UsageError(f"{login.address}: ssh refuses its options: {reason}", hint=shlex.join(argv))
    return _interpret(done.stdout.decode("utf-8", "replace"), login)


def _interpret(text: str, login: Login) -> SshOptions:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)

    def one(key: str) -> str:
        return found.get(key, [""])[0]

    for key, spelled in _REFUSED.items():
        if one(key) not in _OFF:
            raise UsageError(
                f"{login.address}: the ssh option {spelled} cannot be honoured",
                hint="use ProxyJump instead" if key == "proxycommand" else f"remove {spelled} for this host",
            )
    hostname, user, port = one("hostname"), one("user"), int(one("port"))
    tokens = {"h": hostname, "r": user, "p": str(port), "n": login.address}
    jump = one("proxyjump")
    return SshOptions(
        hostname=hostname,
        port=port,
        user=user,
        known_as=one("hostkeyalias"),
        known_hosts=_paths(found, ("userknownhostsfile", "globalknownhostsfile"), tokens, split=True),
        identity_files=_paths(found, ("identityfile",), tokens),
        certificate_files=_paths(found, ("certificatefile",), tokens),
        identities_only=one("identitiesonly") == "yes",
        agent=_agent(one("identityagent"), tokens),
        proxy_jump=None if jump in _OFF else jump,
        family=one("addressfamily") or "any",
        connect_timeout=float(one("connecttimeout")) if one("connecttimeout").isdigit() else None,
        keepalive=int(one("serveraliveinterval") or 0),
        host_key_algorithms=_names(one("hostkeyalgorithms")),
        ciphers=_names(one("ciphers")),
        macs=_names(one("macs")),
        kex=_names(one("kexalgorithms")),
        jump_words=_jump_words(login.words),
    )


def _jump_words(words: Sequence[str]) -> tuple[str, ...]:
    """As in OpenSSH, a hop takes the configuration file of the command line and none of its options."""
    pairs = zip(words[::2], words[1::2], strict=True)
    return tuple(word for pair in pairs if pair[0] == "-F" for word in pair)


def _names(value: str) -> frozenset[str]:
    return frozenset(name for name in value.split(",") if name)


def _paths(
    found: dict[str, list[str]], keys: Sequence[str], tokens: dict[str, str], *, split: bool = False
) -> tuple[Path, ...]:
    values = [value for key in keys for value in found.get(key, [])]
    words = [word for value in values for word in (value.split() if split else [value])]
    return tuple(_path(word, tokens) for word in words if word.lower() != "none")


def _agent(value: str, tokens: dict[str, str]) -> Path | None:
    if value.lower() == "none":
        return None
    if value in ("", "SSH_AUTH_SOCK"):
        value = "$SSH_AUTH_SOCK"
    if value.startswith("$"):
        value = os.environ.get(value.strip("${}"), "")
    return _path(value, tokens) if value else None


def _path(value: str, tokens: dict[str, str]) -> Path:
    """Expand `~` and the tokens of ssh_config(5) that name this host, this login or this user."""
    account = pwd.getpwuid(os.getuid())
    table = {
        **tokens,
        "%": "%",
        "d": account.pw_dir,
        "u": account.pw_name,
        "i": str(account.pw_uid),
    }

    def expand(match: re.Match[str]) -> str:
        if match[1] not in table:
            raise UsageError(f"the token {match[0]} in the ssh option value {value!r} cannot be honoured")
        return table[match[1]]

    expanded = _TOKEN.sub(expand, value)
    # As ssh does, by the account and not by $HOME.
    if expanded == "~" or expanded.startswith("~/"):
        expanded = account.pw_dir + expanded[1:]
    return Path(expanded)
