"""`fleetbox-host forced`: what the push account asked for, judged where it cannot interfere (ADR 0010).

Whoever holds a key of that account chooses every byte here. sshd puts them into SSH_ORIGINAL_COMMAND, sudo
keeps that one variable, and root reads it: nothing on the account's own side decides anything. There is no
quoting to get wrong, because no word that is allowed needs any: a command is one of the shapes below, byte
for byte, or it is refused and logged.

Nothing unsigned is in the table, also for a host that was told nothing of whom to trust: there the account
can activate nothing at all, so what its key is worth never hangs on what else the host was given.
"""

from __future__ import annotations

import re
import syslog
from collections.abc import Mapping
from typing import NamedTuple

from fleetbox.hostside import paths, wanted
from fleetbox.hostside.errors import Exit, HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.pending import NONCE
from fleetbox.hostside.text import escape

VARIABLE = "SSH_ORIGINAL_COMMAND"
# What the control machine puts before the program where its login is not root (LC_ALL, because why sudo
# refuses is told by its words). It is accepted here and not obeyed: this is root already.
AS_ROOT = ("env", "LC_ALL=C", "sudo", "-n", "--")

_SHOWN = 200  # characters of a refused command that are answered and logged
_NUMBER = r"[1-9][0-9]{0,8}"
# In any order. What it takes nothing away from is signed, and so no term of a delivery.
_TERMS = f"(?: --confirm-within {_NUMBER}| --clear-quarantine){{0,2}}"
# What a login with sudo may ask of a host that was told nothing of whom to trust, and a stolen key tries.
_UNSIGNED = re.compile(rf"{re.escape(paths.HOST_PROGRAM)} (?:activate(?! --delivery)|rollback)(?: .*)?")


class Allowed(NamedTuple):
    """A verb, the pattern of everything that follows it, and why the account needs it."""

    verb: str
    arguments: str
    reason: str

    @property
    def shape(self) -> re.Pattern[str]:
        """What the whole command looks like, byte for byte."""
        return re.compile(f"{re.escape(paths.HOST_PROGRAM)} {self.verb}{self.arguments}")


ALLOWED = (
    Allowed("facts", "", "doctor and pushes ask which gates the host has"),
    Allowed("status", "", "push-policy --check compares what is in force"),
    Allowed(
        "activate",
        f" --delivery -{_TERMS}",
        "this is a push, and the way back; signatures and the critical checks judge what it brings",
    ),
    Allowed("confirm", f" {_NUMBER} {NONCE.pattern}", "a push ends with it"),
    Allowed("probe", "", "verify runs the checks; probe.py judges the request, which comes on stdin"),
    Allowed("gpu", "(?: --check)?", "GPUs that have changed are mapped again; it takes no input"),
    Allowed("gc", "", "a push to a full disk first removes what nothing uses"),
    Allowed(
        "audit",
        f"(?: --since {_NUMBER}| --verify)?",
        "the control machine compares the host's record with its own",
    ),
)

# Why the rest is not the account's. A contract test wants every verb and option in one of the two tables.
REFUSED = {
    "stage": "what nobody signed would fill the store; a delivery brings its bundle along",
    "rollback": "what is kept may have been withdrawn since; fleetbox rollback has it assigned anew",
    "install": "it replaces this program, and with it every check that it makes",
    "why": "it shows what other accounts ran, and runs any command as any of them",
    "forced": "this is it",
    "watchdog": "it is the timer's, and waits for hours if it must",
    "--bundle": "it comes with nothing but a digest that the sender names; a delivery is signed",
    "--not-narrower-than": "a delivery says it itself, signed",
    "stale": "it is the timer's, and whoever could ask often would only keep the host busy",
    "--keep": "it would remove the generations that people want to go back to",
    "--no-smoke": "it would keep a policy that no sandbox works with",
    "--debug": "tracebacks show paths and values of the host's",
    "--for-ansible": "it makes a failure look like success",
}

_AS_ROOT = " ".join(AS_ROOT) + " "


def asked(places: Places, environment: Mapping[str, str]) -> list[str]:
    """The verb and the arguments that the account asked for. Raises `HostError` `not_allowed`, `unsigned`."""
    try:
        with wanted.refusals_recorded(places):
            words = judged(environment.get(VARIABLE))
    except HostError as refusal:
        _log(syslog.LOG_WARNING, f"refused: {refusal.message}")
        raise
    # The verb alone: what follows may one day hold what only the two ends should know.
    _log(syslog.LOG_INFO, f"push account: {words[0]}")
    return words


def judged(text: str | None) -> list[str]:
    """The words after the program's name, if `text` has one of the shapes. Raises `HostError`."""
    if not text:
        raise _not_allowed("the push account has no shell: it was asked for nothing that it may run")
    command = text[len(_AS_ROOT) :] if text.startswith(_AS_ROOT) else text
    if not any(allowed.shape.fullmatch(command) for allowed in ALLOWED):
        shown = escape(command[:_SHOWN]) + ("…" if len(command) > _SHOWN else "")
        if _UNSIGNED.fullmatch(command):
            raise _unsigned(shown)
        raise _not_allowed(f"the push account may not run: {shown}{_because(command)}")
    return command.split(" ")[1:]


def _because(command: str) -> str:
    """The reason that the table gives for one of the words, if there is one."""
    reasons = [f" ({word}: {REFUSED[word]})" for word in command[:_SHOWN].split(" ") if word in REFUSED]
    return reasons[0] if reasons else ""


def _not_allowed(message: str) -> HostError:
    hint = "docs/push-account.md lists what it may; for everything else log in as an account with sudo"
    return HostError("not_allowed", message, hint=hint, exit_code=Exit.USAGE)


def _unsigned(shown: str) -> HostError:
    """Told apart, because it is also what a push from a machine without trust meets."""
    return HostError(
        "unsigned",
        f"the push account activates only what was signed and assigned to this host: {shown}",
        hint="set trust up (fleetbox init), tell this host (ansible-playbook site.yml), and push again",
        exit_code=Exit.TAMPERED,
    )


def _log(priority: int, words: str) -> None:
    """To the log of logins. A host without a syslog loses it, and that is no reason to refuse."""
    syslog.openlog("fleetbox-host", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    syslog.syslog(priority, words)
