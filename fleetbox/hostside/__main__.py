"""`fleetbox-host`: one verb, one JSON object on stdout, words on stderr; `why` answers people, unless --json.

A verb's module is imported only when the verb is called, so that a fault in the probes cannot take
`rollback` with it. Exit codes: `fleetbox.hostside.errors.Exit`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any, BinaryIO, NoReturn

from fleetbox import __version__
from fleetbox.hostside.errors import Exit, HostError
from fleetbox.hostside.manifest import DIGEST
from fleetbox.hostside.paths import Places
from fleetbox.hostside.pending import NONCE

SCHEMA_VERSION = 1

# verb: the module below fleetbox.hostside that has a function of the verb's name
VERBS = {
    "facts": "detect",
    "stage": "store",
    "activate": "activate",
    "confirm": "confirm",
    "rollback": "activate",
    "status": "status",
    "gc": "collect",
    "watchdog": "watchdog",
    "stale": "stale",
    "install": "install",
    "gpu": "gpu",
    "probe": "probe",
    "why": "why",
    "audit": "audit",
}


def main(argv: Sequence[str], *, stdin: BinaryIO | None = None, places: Places | None = None) -> int:
    """Run one verb and print its answer. Returns the exit code; never raises."""
    debug = "--debug" in argv
    words = None
    trail: dict[str, Any] = {}
    try:
        options = _parse(argv)
        if options.verb == "forced":
            from fleetbox.hostside.forced import asked  # noqa: PLC0415 (syslog, which no other verb needs)

            options = _parse(asked(places or Places(), os.environ), forced=True)
        module = import_module(f"fleetbox.hostside.{VERBS[options.verb]}")
        words = module.words if options.verb == "why" and not options.json else None
        try:
            answer = getattr(module, options.verb)(places or Places(), options, stdin or sys.stdin.buffer)
        finally:
            trail = _trail(places or Places(), options.verb)
    except HostError as problem:
        problem.answer.update(trail)
        return _refuse(problem, argv, debug=debug, as_json=words is None)
    except Exception as problem:  # noqa: BLE001  # the frame: whatever it is, the caller gets JSON and a code
        return _refuse(_internal(problem), argv, debug=debug, as_json=words is None)
    if words:
        sys.stdout.write(words(answer))
        sys.stdout.flush()
    else:
        _print({**answer, **trail})
    return Exit.OK


def _trail(places: Places, verb: str) -> dict[str, Any]:
    """Where the audit trail ends, with which the control machine can tell later whether it was cut back."""
    if verb not in RECORDED:
        return {}
    head = import_module("fleetbox.hostside.audit").head(places)
    return {"audit": head and head._asdict()}


def _refuse(refusal: HostError, argv: Sequence[str], *, debug: bool, as_json: bool) -> int:
    if debug:
        traceback.print_exc()
    error = {"code": refusal.code, "message": refusal.message, "hint": refusal.hint}
    if as_json:
        _print({**refusal.answer, "error": error})
    hint = f"  hint: {refusal.hint}\n" if refusal.hint else ""
    sys.stderr.write(f"fleetbox-host: {refusal.message}\n{hint}")
    # Ansible drops a fact whose script fails; an error inside the fact is one that a role can show.
    return Exit.OK if "--for-ansible" in argv else refusal.exit_code


def _internal(problem: Exception) -> HostError:
    what = f"{type(problem).__name__}: {problem}".splitlines()[0]
    hint = "run the same command with --debug and report what it prints"
    return HostError("internal", f"internal error: {what}", hint=hint, exit_code=Exit.INTERNAL)


def _print(answer: dict[str, Any]) -> None:
    """One line of ASCII: whatever a path or a message holds, a pipe and a terminal survive it."""
    sys.stdout.write(json.dumps({"schema_version": SCHEMA_VERSION, **answer}) + "\n")
    sys.stdout.flush()


# The verbs that change what is enforced.
RECORDED = ("activate", "confirm", "rollback")


class _Parser(argparse.ArgumentParser):
    """argparse, but a mistake is reported like every other refusal."""

    def error(self, message: str) -> NoReturn:
        raise HostError("usage", message, hint="fleetbox-host --help", exit_code=Exit.USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fleetbox-host", description=__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fleetbox-host {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add = {verb: verbs.add_parser(verb, help=text, allow_abbrev=False) for verb, text in _HELP.items()}
    add["facts"].add_argument("--for-ansible", action="store_true", help="never fail: errors become the fact")
    add["stage"].add_argument("digest", type=_digest, metavar="sha256:HEX")
    add["activate"].add_argument("digest", type=_digest, nargs="?", metavar="sha256:HEX")
    add["activate"].add_argument("--bundle", choices=["-"], help="the bundle comes on stdin")
    add["activate"].add_argument(
        "--delivery", choices=["-"], help="what is signed for this host, with or without the bundle, on stdin"
    )
    add["rollback"].add_argument("--to", type=_positive, metavar="N", help="the generation to return to")
    for verb in ("activate", "rollback"):
        _terms(add[verb])
    add["confirm"].add_argument("generation", type=_positive, metavar="N", help="what activate answered")
    add["confirm"].add_argument("nonce", type=_nonce, metavar="NONCE", help="likewise")
    add["gc"].add_argument("--keep", type=_positive, default=10, metavar="N", help="so many generations")
    add["watchdog"].add_argument("--once", action="store_true", help="go back if it is time, and end")
    _why(add["why"])
    add["audit"].add_argument("--since", type=_positive, default=1, metavar="SEQ", help="from that record on")
    add["audit"].add_argument("--verify", action="store_true", help="check the whole trail instead")
    for verb in ("install", "gpu"):
        add[verb].add_argument("--check", action="store_true", help="say what would change, change nothing")
    for verb in VERBS:
        add[verb].add_argument("--debug", action="store_true", help="print a traceback when something fails")
    return parser


def _terms(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--no-smoke", action="store_true", help="leave out the critical checks")
    verb.add_argument(
        "--confirm-within",
        type=_positive,
        metavar="S",
        help="go back unless `confirm` comes in so many seconds after the checks (default: keep at once)",
    )
    verb.add_argument(
        "--not-narrower-than",
        type=_digest,
        action="append",
        default=[],
        metavar="sha256:HEX",
        help="it takes no access away from this bundle, so going back to it is safe; repeatable",
    )
    verb.add_argument(
        "--clear-quarantine", action="store_true", help="try it although its checks failed here"
    )


def _why(verb: argparse.ArgumentParser) -> None:
    verb.usage = (
        "fleetbox-host why [--last N] [--user NAME] [--json] [--policy NAME] [--workspace DIR] [-- CMD ...]"
    )
    verb.description = (
        "What the launcher refused last; with CMD, what of the policy refuses it: it is run again."
    )
    verb.epilog = "Example: fleetbox-host why --workspace . -- make test"
    verb.add_argument("--last", type=_positive, default=5, metavar="N", help="so many refusals (default 5)")
    verb.add_argument("--user", metavar="NAME", help="of this account; as root, the one to run CMD as")
    verb.add_argument("--json", action="store_true", help="everything that is known, as one line of JSON")
    verb.add_argument("--policy", metavar="NAME", help="for CMD: as fleetbox-run --policy")
    verb.add_argument("--workspace", metavar="DIR", help="for CMD: as fleetbox-run --workspace")
    verb.add_argument(
        "--timeout", type=_positive, default=60, metavar="S", help="for CMD: end it then (default 60)"
    )


def _parse(argv: Sequence[str], *, forced: bool = False) -> argparse.Namespace:
    """What follows `--` is a command's own, whatever it looks like; only `why` takes one.

    `forced` is kept for verbs that trust what root types more than what the push account asks for.
    """
    head = list(argv)
    command: list[str] = []
    if head[:1] == ["why"] and "--" in head:
        at = head.index("--")
        head, command = head[:at], head[at + 1 :]
        if not command:
            raise HostError("usage", "there is no command after --", exit_code=Exit.USAGE)
    options = _parser().parse_args(head)
    options.command = command
    options.forced = forced
    return options


_HELP = {
    "facts": "what this host is and what keeps it from sandboxing",
    "stage": "put the bundle on stdin into the store",
    "activate": "make a bundle the current generation, checked and reversible",
    "confirm": "let the generation on trial stay",
    "rollback": "return to an older generation's content",
    "status": "the generations of this host, the policies of the current one, what is on trial",
    "gc": "remove generations and bundles that are not needed any more",
    "watchdog": "go back when nobody confirms in time",
    "stale": "go to the strictest baseline when signatures were due for longer than max_stale_days",
    "install": "install or update this program from the archive on stdin",
    "gpu": "write down what launches must know of GPUs: CDI devices, MIG instances",
    "probe": "run the checks that the request on stdin names",
    "why": "what the launcher refused last, or what refuses a command",
    "audit": "the audit trail of this host, or what is wrong with it",
    "forced": "for sshd: do what the push account asked for in SSH_ORIGINAL_COMMAND, if it may",
}


def _digest(text: str) -> str:
    if not DIGEST.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not sha256:<64 hex digits>")
    return text


def _nonce(text: str) -> str:
    if not NONCE.fullmatch(text):
        raise argparse.ArgumentTypeError("it is not 32 hex digits")
    return text


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= 999_999_999):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
