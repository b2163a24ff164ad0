"""`why -- CMD`: runs a command again in the sandbox, watched by strace, and names the rule behind a refusal.

The tracer stands outside: ptrace is refused inside, and process 1 of a sandbox cannot be looked into from
there. It runs as the workload's user, so it may do nothing that this user may not. The command's own output
is thrown away, since it may hold secrets; of its arguments only the name of the program is ever repeated.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import IO, Any, NamedTuple, cast

from fleetbox.hostside import config, paths, strace, verdict
from fleetbox.hostside.errors import Exit, HostError
from fleetbox.hostside.paths import Places
from fleetbox.hostside.probes import launch
from fleetbox.hostside.probes.launch import PATH, Account
from fleetbox.hostside.strace import Failure
from fleetbox.hostside.text import escape
from fleetbox.hostside.verdict import Launch, Outside, Verdict

_DISTINCT_MAX = 5000  # different failures that are kept of one run
_ASKED_MAX = 500
_LISTED_MAX = 200
_SAID_MAX = 32 * 1024
_WARNING = "fleetbox-run: warning: "
_EXPLAIN_S = 20
_ASK_S = 10
# Failures that mean "not allowed" rather than "not there".
_REFUSALS = {"EACCES", "EPERM", "EROFS", "ENETUNREACH", "EHOSTUNREACH", "EXDEV", "EBUSY"}
# As the account: root would see and may do what the workload's user does not.
_ASK = """
import json, os
def ask(path):
    exists = os.path.lexists(path)
    place = path if exists else os.path.dirname(path)
    return [exists, os.access(path, os.R_OK), os.access(place, os.W_OK), os.access(path, os.X_OK)]
print(json.dumps([ask(path) for path in {paths}]))
"""


class Watched(NamedTuple):
    """One run under the tracer. `code` is None when it was ended for its time; `said` begins its stderr."""

    failures: Counter[Failure]
    code: int | None
    said: str


def rerun(places: Places, options: Namespace) -> dict[str, Any]:
    """Run `options.command` again. Raises `HostError`: no tracer, no account, no launcher."""
    account = _account(places, options.user)
    tracer = shutil.which("strace", path=PATH)
    _check(tracer, places)
    words = _launcher_words(places, options)
    explained = _run([*words, "--explain", "--", *options.command], account)
    if explained.returncode != 0:
        watched = Watched(Counter(), explained.returncode, explained.stderr)
        return _answer(options, Launch("", "", (), ()), watched, [])
    view = verdict.parse(explained.stdout)
    command = [cast("str", tracer), *strace.OPTIONS]
    watched = _watch(command, [*words, "--", *options.command], account, _start(options), options.timeout)
    if not watched.failures and watched.said.startswith("strace:"):
        raise HostError(
            "tracer_refused",
            f"strace may not trace here: {escape(watched.said.splitlines()[0])}",
            hint="kernel.yama.ptrace_scope must be below 2, and a container around must allow ptrace",
        )
    return _answer(options, view, watched, _judged(watched.failures, view, account))


def _account(places: Places, user: str | None) -> Account:
    if os.geteuid() != 0 and not user:
        return Account.current()
    name = user or config.load(places).workload_user
    if name is None:
        hint = "fleetbox-host why --user NAME -- CMD, or conformance_user in the inventory"
        raise HostError("usage", "as root, say whose sandbox is meant", hint=hint, exit_code=Exit.USAGE)
    try:
        account = Account.named(name)
    except KeyError:
        raise HostError("no_such_user", f"there is no account {name!r} here", exit_code=Exit.USAGE) from None
    if account.uid == 0 or os.geteuid() not in (0, account.uid):
        raise HostError(
            "usage", f"cannot run as {name!r}", hint="name an unprivileged account", exit_code=Exit.USAGE
        )
    return account


def _check(tracer: str | None, places: Places) -> None:
    if "FLEETBOX_SANDBOX" in os.environ:
        hint = "run the same words outside; ptrace is refused in here"
        raise HostError("inside_sandbox", "this already runs in a sandbox", hint=hint)
    if not os.access(places.under(paths.LAUNCHER), os.X_OK):
        raise HostError("no_launcher", f"there is no {paths.LAUNCHER} here", hint="ansible-playbook site.yml")
    if tracer is None:
        hint = "apt-get install strace; without it: fleetbox-run --explain -- CMD lists what holds"
        raise HostError("no_tracer", "strace is not installed, which would watch the command", hint=hint)


def _launcher_words(places: Places, options: Namespace) -> list[str]:
    return [
        places.under(paths.LAUNCHER),
        *(["--workspace", options.workspace] if options.workspace else []),
        *(["--policy", options.policy] if options.policy else []),
    ]


def _settings(account: Account) -> dict[str, Any]:
    """What a process is started with: from root, as the account and with nothing of root's."""
    if os.geteuid() != 0:
        return {}
    switch = {"user": account.uid, "group": account.gid, "extra_groups": list(account.groups)}
    return {"env": account.environment(), "cwd": "/", **switch}


def _run(argv: Sequence[str], account: Account) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="surrogateescape",
            timeout=_EXPLAIN_S, check=False, **_settings(account),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise HostError(
            "launcher_stuck", "fleetbox-run --explain does not end", hint="fleetbox doctor"
        ) from None


def _start(options: Namespace) -> str:
    """The directory in which the launcher starts the command (start_dir in launcher/argv.c)."""
    here = "/" if os.geteuid() == 0 else os.getcwd()
    workspace = os.path.realpath(options.workspace or here)
    return here if os.path.commonpath([here, workspace]) == workspace else workspace


def _watch(tracer: Sequence[str], argv: Sequence[str], account: Account, start: str, timeout: int) -> Watched:
    reader, writer = os.pipe()
    if os.geteuid() == 0:
        os.fchown(writer, account.uid, account.gid)  # strace opens it by name
    try:
        process = subprocess.Popen(
            [*tracer, "-o", f"/proc/self/fd/{writer}", "--", *argv],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            pass_fds=[writer], start_new_session=True, **_settings(account),
        )  # fmt: skip
    finally:
        os.close(writer)
    said = bytearray()
    listener = threading.Thread(target=_listen, args=(cast("IO[bytes]", process.stderr), said))
    late = threading.Event()
    watchdog = threading.Timer(timeout, _end, args=(process, late))
    with process, open(reader, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        listener.start()
        watchdog.start()
        found = _counted(strace.failures(lines, start))
        code = process.wait()
        watchdog.cancel()
        listener.join()
    return Watched(found, None if late.is_set() else code, said.decode("utf-8", "replace"))


def _counted(failures: Iterable[Failure]) -> Counter[Failure]:
    """How often each; a run without end meets new ones without end, and those are only passed over."""
    counts: Counter[Failure] = Counter()
    for failure in failures:
        if failure in counts or len(counts) < _DISTINCT_MAX:
            counts[failure] += 1
    return counts


def _listen(stream: IO[bytes], said: bytearray) -> None:
    while chunk := os.read(stream.fileno(), 1 << 16):
        said += chunk[: max(0, _SAID_MAX - len(said))]


def _end(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    """With strace the kernel ends what it traces, and with the launcher the sandbox."""
    late.set()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _judged(
    failures: Counter[Failure], view: Launch, account: Account
) -> list[tuple[Failure, int, Verdict | None]]:
    """Each failure with its verdict; what a rule could change first, what merely is not there last."""
    outside = _outside(failures, account)
    judged = [(failure, count, verdict.judge(failure, view, outside)) for failure, count in failures.items()]

    def rank(one: tuple[Failure, int, Verdict | None]) -> tuple[bool, bool, int]:
        failure, count, found = one
        return (bool(found and found.outside), failure.errno == "ENOENT", -count)

    return sorted(judged, key=rank)


def _outside(failures: Iterable[Failure], account: Account) -> dict[str, Outside]:
    """What the account can do with the paths where there is no sandbox; nothing where a mount hangs."""
    named = list(dict.fromkeys(path for failure in failures for path in failure.paths if path[:1] == "/"))
    asked = named[:_ASKED_MAX]
    program = _ASK.replace("{paths}", ascii(asked))
    try:
        process = launch.start([paths.PYTHON, "-I", "-S", "-"], account=account, program=program)
        answers = json.loads(launch.finish(process, timeout=_ASK_S).stdout)
    except (OSError, ValueError):
        return {}
    return {path: Outside(*answer) for path, answer in zip(asked, answers)}  # noqa: B905 (not in Python 3.9)


def _answer(
    options: Namespace, view: Launch, watched: Watched, judged: list[tuple[Failure, int, Verdict | None]]
) -> dict[str, Any]:
    refused = [_refusal(failure, count, found) for failure, count, found in judged if found]
    others = [one for one in judged if one[2] is None and one[0].errno in _REFUSALS]
    own_words = [
        line for line in watched.said.splitlines() if line.startswith(("fleetbox-run: ", "  hint: "))
    ]
    return {
        "command": escape(os.path.basename(options.command[0])),
        "policy": escape(view.policy),
        "exit": watched.code,
        "timeout": options.timeout,
        "launcher": [escape(line)[:500] for line in own_words if not line.startswith(_WARNING)][:4],
        "warnings": [escape(line)[:500] for line in own_words if line.startswith(_WARNING)][:20],
        "refusals": refused[:_LISTED_MAX],
        "unexplained": [_unexplained(failure, count) for failure, count, _ in others][:_LISTED_MAX],
    }


def _refusal(failure: Failure, count: int, found: Verdict) -> dict[str, Any]:
    return {
        "errno": failure.errno,
        "subject": escape(found.subject),
        "count": count,
        "rule": escape(found.rule),
        "means": found.means,
        "outside": found.outside,
    }


def _unexplained(failure: Failure, count: int) -> dict[str, Any]:
    subject = " ".join(filter(None, [failure.call, failure.detail, failure.address, *failure.paths]))
    return {"errno": failure.errno, "subject": escape(subject), "count": count}
