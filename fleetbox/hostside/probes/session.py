"""One call of the probes: which checks, as which user, in which scene; and the answer that is sent back.

The checks of `TRIALS` share one launch; those of `LAUNCHES` start their own beside it. Those of `APART` share
another one.
"""

from __future__ import annotations

import hashlib
import os
import platform
import pwd
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from fleetbox.hostside import checks as catalogue
from fleetbox.hostside import paths
from fleetbox.hostside.probes import (
    active,
    apart,
    environment,
    filesystem,
    lifetime,
    network,
    outcome,
    process,
    rounds,
)
from fleetbox.hostside.probes.active import Active, NothingActive
from fleetbox.hostside.probes.apart import APART
from fleetbox.hostside.probes.gpu import needs, nodes
from fleetbox.hostside.probes.launch import Account, Installation, Launches
from fleetbox.hostside.probes.outcome import Control, Verdict
from fleetbox.hostside.probes.planted import Wanted
from fleetbox.hostside.probes.rounds import Surroundings
from fleetbox.hostside.probes.scene import Refused, Scene, Stage
from fleetbox.hostside.probes.trial import Asked, Params, Prepared, Probe, Trial

INSTALLED = Installation()
SCHEMA_VERSION = 1
MAX_SOCKETS = 32
TEXT_LIMIT = 500

TRIALS: dict[str, Probe] = {
    "FBX-SBX-001": process.sandbox_active,
    "FBX-FS-001": filesystem.outside_workspace,
    "FBX-FS-002": filesystem.workspace,
    "FBX-FS-003": filesystem.git,
    "FBX-FS-004": filesystem.settings,
    "FBX-FS-005": filesystem.credentials,
    "FBX-FS-006": filesystem.startup,
    "FBX-FS-008": filesystem.private_tmp,
    "FBX-NET-001": network.egress,
    "FBX-NET-004": network.host_sockets,
    "FBX-NS-001": process.user_namespaces,
    "FBX-NS-002": process.privileges,
    "FBX-NS-003": process.host_processes,
    "FBX-SYS-001": process.system_calls,
    "FBX-GPU-001": nodes.visible,
    "FBX-GPU-005": needs.needs,
    "FBX-ENV-001": environment.clean,
}
LAUNCHES = {"FBX-SBX-002": lifetime.fails_closed, "FBX-SYS-002": lifetime.dies_with_launcher}
STATE = "FBX-POL-001"
KNOWN = frozenset({*TRIALS, *LAUNCHES, *APART, STATE})


class Answer(NamedTuple):
    """What a call came to: verdicts by check id, in the order asked, and how long each took."""

    verdicts: dict[str, Verdict]
    milliseconds: dict[str, int]


def run(request: Mapping[str, Any], installation: Installation = INSTALLED) -> dict[str, Any]:
    """Answer a probe request: {"checks": [{"id", "params"}] | null, "user", "egress_peer", "policy"}.

    "checks" null: those that the active manifest plans for the policy. Never raises for what a host lacks:
    the results say it.
    """
    account, problem = _account(request.get("user"))
    try:
        found = active.load(installation, request.get("policy"))
    except NothingActive as missing:
        return _answer(_nothing_active(_wanted(request, None), str(missing)), installation, account, None)
    wanted = _wanted(request, found)
    if account is None:
        return _answer(_all(wanted, "no_workload_user", problem), installation, account, found)
    launches = Launches(installation, account, request.get("policy"))
    answer = _probe(wanted, launches, found, _peer(request.get("egress_peer")))
    return _answer(answer, installation, account, found)


def _wanted(request: Mapping[str, Any], found: Active | None) -> dict[str, Params]:
    planned = request.get("checks")
    if planned is None:
        planned = found.checks if found else [{"id": check.id, "params": {}} for check in catalogue.CHECKS]
    return {str(entry["id"]): entry["params"] for entry in planned}


def _peer(text: str | None) -> tuple[str, int] | None:
    """ADDR:PORT, the address of IPv6 in brackets."""
    if not text:
        return None
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)


def _account(name: str | None) -> tuple[Account | None, str]:
    """The workload's user: as asked, who called sudo, or who we are; and why there is none."""
    if os.geteuid() != 0 and name is None:
        return Account.current(), ""
    chosen = name or _caller()
    try:
        account = Account.named(chosen)
    except KeyError:
        return (
            None,
            f"the workload's user {chosen!r} is not known here" if chosen else "no workload user is set",
        )
    return (account, "") if account.uid else (None, "probes never run as root: name the workload's user")


def _caller() -> str:
    """Who called sudo, if that is somebody whom workloads may run as: the push account is not."""
    name = os.environ.get("SUDO_USER") or ""
    try:
        return "" if pwd.getpwnam(name).pw_shell == paths.PUSH_SHELL else name
    except KeyError:
        return name


def _all(wanted: Iterable[str], reason: str, message: str) -> Answer:
    return Answer({check: Verdict(outcome.ERROR, reason, message) for check in wanted}, {})


def _nothing_active(wanted: Iterable[str], message: str) -> Answer:
    """Nothing can be tried, and that the policy is not in force has been found out."""
    answer = _all(wanted, "no_policy", message)
    if STATE in answer.verdicts:
        answer.verdicts[STATE] = Verdict(outcome.FAIL, "no_policy", message)
    return answer


def _probe(
    wanted: Mapping[str, Params], launches: Launches, found: Active, peer: tuple[str, int] | None
) -> Answer:
    early = {check: verdict for check, params in wanted.items() if (verdict := _early(check, params))}
    pending = {check: params for check, params in wanted.items() if check not in early}
    asked = Asked({}, peer, _host_sockets(), "")
    try:
        with Stage(launches.account, _to_plant(pending, found)) as scene:
            verdicts, spent = _try(scene, pending, launches, asked)
    except (Refused, OSError) as problem:
        verdicts, spent = _all(pending, "scene_failed", str(problem))
    if STATE in pending:
        uid = launches.account.uid
        verdicts[STATE] = active.holds(found, launches.installation, uid, pending[STATE])
    return Answer({check: early.get(check) or verdicts[check] for check in wanted}, spent)


def _early(check: str, params: Params) -> Verdict | None:
    """The verdict of a check that need not be tried."""
    if check not in KNOWN:
        return Verdict(outcome.NOT_RUN, "not_supported", "this host program does not know the check")
    if why := params.get("not_applicable"):
        return Verdict(outcome.NOT_APPLICABLE, "not_applicable", str(why))
    return None


def _own_launch(future: Future[Verdict]) -> Verdict:
    try:
        return future.result()
    except OSError as problem:
        return Verdict(outcome.ERROR, "probe_crash", str(problem))


def _to_plant(pending: Mapping[str, Params], found: Active) -> Wanted:
    files = {}
    if "FBX-SBX-002" in pending:
        filters = {name: content for name, content in found.files.items() if name.endswith(".bpf")}
        files = {**filters, **lifetime.copies(found.files[paths.LAUNCH_PLAN])}
    parts = pending.get("FBX-GPU-004", {}).get("parts", {})
    credentials = {**parts.get("FBX-FS-005", {}), **pending.get("FBX-FS-005", {})}
    return Wanted(
        tuple(credentials.get("places", ())),
        tuple(pending.get("FBX-FS-004", {}).get("names", ())),
        tuple(pending.get("FBX-FS-006", {}).get("paths", ())),
        tuple(files.items()),
    )


def _host_sockets() -> tuple[str, ...]:
    """Paths of sockets that something listens on, before we make our own."""
    listening = "00010000"  # __SO_ACCEPTCON
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as lines:
            rows = [line.split(None, 7) for line in lines]
    except OSError:
        return ()
    return tuple(
        row[7].rstrip("\n")
        for row in rows
        if len(row) == 8 and row[3] == listening and row[7].startswith("/")
    )[:MAX_SOCKETS]


def _try(
    scene: Scene, pending: Mapping[str, Params], launches: Launches, asked: Asked
) -> tuple[dict[str, Verdict], dict[str, int]]:
    """Everything outside first, as that moves things about; then all launches at once."""
    kept, open_pipe = os.pipe()
    try:
        # A pipe rather than a file: its name is unique and nobody else can have opened it.
        asked = asked._replace(descriptor=os.readlink(f"/proc/self/fd/{kept}"))
        prepared = _prepared(scene, pending, asked)
        verdicts = {check: made for check, made in prepared.items() if isinstance(made, Verdict)}
        trials: dict[str, Trial] = {c: made for c, made in prepared.items() if not isinstance(made, Verdict)}
        variables = environment.planted(scene, pending.get("FBX-ENV-001", {}))
        around = Surroundings(scene.workspace, variables, kept)
        controls = rounds.outside(trials, launches, around)
        # Before the others: it makes some of the same attempts, and outside, too.
        found, spent_apart = apart.judged(scene, pending, launches, asked)
        with ThreadPoolExecutor(len(LAUNCHES)) as pool:
            own = {
                check: pool.submit(LAUNCHES[check], scene, launches) for check in pending if check in LAUNCHES
            }
            judged, spent = rounds.inside(trials, controls, launches, around)
            verdicts.update({check: _own_launch(future) for check, future in own.items()})
        return {**verdicts, **judged, **found}, {**spent, **spent_apart}
    finally:
        os.close(kept)
        os.close(open_pipe)


def _prepared(scene: Scene, pending: Mapping[str, Params], asked: Asked) -> dict[str, Prepared]:
    chosen = {check: params for check, params in pending.items() if check in TRIALS}
    return {check: TRIALS[check](scene, asked._replace(params=params)) for check, params in chosen.items()}


def _answer(
    answer: Answer, installation: Installation, account: Account | None, found: Active | None
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "results": [
            _result(check, verdict, answer.milliseconds.get(check, 0))
            for check, verdict in answer.verdicts.items()
        ],
        "host": {
            "host_id": host_id(),
            "kernel": platform.release(),
            "user": account.name if account else "",
            "launcher": _file_digest(installation.launcher),
            "policy": found.policy if found else "",
            "digest": found.digest if found else "",
            "bundle": found.bundle if found else "",
            "generation": found.generation if found else None,
        },
    }


def _printable(text: str) -> str:
    """Paths come from the user's own directories: no control characters leave this host."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:TEXT_LIMIT])


def _control(control: Control) -> dict[str, Any]:
    return {"ok": control.ok, "detail": _printable(control.detail)}


def _result(check: str, verdict: Verdict, milliseconds: int) -> dict[str, Any]:
    known = catalogue.BY_ID.get(check)
    return {
        "check_id": check,
        "check_version": known.version if known else 0,
        "status": verdict.status,
        "reason": verdict.reason,
        "expected": verdict.expected,
        "observed": {k: _printable(v) if isinstance(v, str) else v for k, v in verdict.observed.items()},
        "controls": {"outside": _control(verdict.outside), "inside": _control(verdict.inside)},
        "message": _printable(verdict.message),
        "duration_ms": milliseconds,
    }


def host_id() -> str:
    """The SHA-256 of the machine id, which itself is nobody's business; "" where there is none."""
    try:
        with open("/etc/machine-id", "rb") as file:
            return hashlib.sha256(file.read().strip()).hexdigest()
    except OSError:
        return ""


def _file_digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return "sha256:" + hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""
