"""`fleetbox doctor`: can this machine, or a host, sandbox? It looks and installs nothing."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from fleetbox.cli.one_host import one_host
from fleetbox.cli.options import complete_hosts, inventory_option, json_option
from fleetbox.cli.output import print_json
from fleetbox.errors import ExitCode
from fleetbox.facts import Gate, HostFacts
from fleetbox.rollout import calls
from fleetbox.rollout.answers import Failure
from fleetbox.transport import connect
from fleetbox.transport.local import LocalTransport

_ABI_ALONE = 6  # LANDLOCK_ABI_SCOPES of launcher/landlock.h


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `remedy` is "" where nothing is wrong; `role` opens it where it is not ""."""

    subject: str
    ok: bool
    words: str
    remedy: str = ""
    symptom: str = ""
    role: str = ""


@click.command(epilog="Example: fleetbox doctor gpu-01 -i inventory/hosts.yml")
@click.argument("host", required=False, shell_complete=complete_hosts)
@inventory_option
@json_option
def doctor(*, host: str | None, inventory: tuple[str, ...], as_json: bool) -> ExitCode:
    """Say whether this machine, or HOST, can sandbox, and what to do where it cannot.

    With HOST the detection code is sent over the connection and leaves nothing behind. Where the login is a
    push account (docs/push-account.md), the program that is installed there answers.
    """
    findings = list(_of_host(host, inventory) if host else _of_this_machine())
    code = ExitCode.OK if all(finding.ok for finding in findings) else ExitCode.APPLY_FAILED
    if as_json:
        subject = {"host": host, "exit_code": int(code)}
        print_json({"schema_version": 1, **subject, "findings": [asdict(f) for f in findings]})
    else:
        _show(findings)
    return code


def _show(findings: Sequence[Finding]) -> None:
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.subject:<{width}}  {finding.words}")
        for what, text in (("seen", finding.symptom), ("remedy", finding.remedy), ("or", finding.role)):
            if text:
                click.echo(f"{'':{width + 8}}{what + ':':<8}{text}")


def _of_host(name: str, inventory: tuple[str, ...]) -> Iterator[Finding]:
    host = one_host(name, inventory)
    transport = connect(host)
    try:
        yield Finding("connection", ok=True, words=f"{host.connection} to {host.address}")
        yield from _of_facts(calls.facts_of(transport, host.python))
    finally:
        transport.close()


def _of_facts(facts: HostFacts | Failure) -> Iterator[Finding]:
    if isinstance(facts, Failure):
        yield Finding(f"gate {facts.code}", ok=False, words=facts.message, remedy=facts.hint)
        return
    yield Finding("system", ok=True, words=f"{facts.os.pretty}, kernel {facts.kernel.release}")
    yield Finding("bubblewrap", ok=True, words=_bwrap(facts))
    yield Finding("Landlock", ok=True, words=_landlock(facts))
    yield from _gpus(facts)
    yield Finding("launcher", ok=True, words=_launcher(facts))
    yield _policy(facts)
    for gate in facts.gates:
        yield _gate(f"gate {gate.id}", gate, ok=False)
    if not facts.gates:
        yield Finding("gates", ok=True, words="none: this machine can sandbox")
    for cost in facts.costs:
        yield _gate(f"cost {cost.id}", cost, ok=True)


def _gate(subject: str, gate: Gate, *, ok: bool) -> Finding:
    role = "ansible-playbook site.yml opens it (roles bubblewrap and userns)" if gate.fixable_by_role else ""
    return Finding(subject, ok, gate.problem, gate.remedy, gate.symptom, role)


def _gpus(facts: HostFacts) -> Iterator[Finding]:
    """None fails: a sandbox without a GPU is one, and a launch that requires one is refused."""
    if not facts.gpu.devices:
        yield Finding("GPU", ok=True, words="none")
    for device in facts.gpu.devices:
        name = " ".join(filter(None, [device.vendor, device.model, device.pci]))
        healthy = device.health == "ok"
        words = f"{name}: {device.health}" + ("" if healthy else f" ({device.means})")
        yield Finding("GPU", ok=True, words=words, remedy=device.remedy)
    for known in facts.gpu.advisories:
        yield Finding("GPU driver", ok=True, words=f"{known.driver}: {known.advisory}", remedy=known.hint)


def _bwrap(facts: HostFacts) -> str:
    return f"{facts.bwrap.version} ({facts.bwrap.path})" if facts.bwrap else "not installed; site.yml does it"


def _landlock(facts: HostFacts) -> str:
    abi = facts.kernel.landlock
    if not facts.gates:
        return f"ABI {abi}, as a second layer" if abi else "not there, which best-effort goes on without"
    if abi < _ABI_ALONE:
        return f"ABI {abi}: cannot stand in for bubblewrap, which takes {_ABI_ALONE} (Linux 6.12)"
    return f"ABI {abi}: stands in for bubblewrap where a policy accepts it (filesystem.allow_host_mounts)"


def _launcher(facts: HostFacts) -> str:
    return facts.launcher.version if facts.launcher else "not installed; site.yml does it"


def _policy(facts: HostFacts) -> Finding:
    active = facts.fleetbox
    if active is None:
        return Finding("policy", ok=True, words="none active; push-policy does it")
    if active.generation is None:
        remedy = "fleetbox push-policy names the damage and what to do"
        return Finding("policy", ok=False, words="the state directory is damaged", remedy=remedy)
    return Finding("policy", ok=True, words=f"generation {active.generation}, {active.digest}")


def _of_this_machine() -> Iterator[Finding]:
    yield Finding("Python", ok=True, words=f"{platform.python_version()} ({sys.executable})")
    yield Finding("ansible-core", ok=True, words=importlib.metadata.version("ansible-core"))
    yield _ssh()
    yield _built_launcher()
    yield from _of_facts(calls.streamed_facts(LocalTransport(), sys.executable, as_root=False))


def _ssh() -> Finding:
    found = shutil.which("ssh")
    if found is None:
        return Finding("ssh", ok=False, words="not installed", remedy="apt-get install openssh-client")
    done = subprocess.run([found, "-V"], capture_output=True, text=True, check=False)
    return Finding("ssh", ok=True, words=done.stderr.strip())


def _built_launcher() -> Finding:
    """The launcher that `fleetbox run` starts here and that roles install on hosts."""
    path = Path(__file__).resolve().parent.parent / "bin" / f"fleetbox-run-linux-{os.uname().machine}"
    if not path.exists():
        return Finding("fleetbox-run", ok=False, words="not built", remedy="make setup")
    return Finding("fleetbox-run", ok=True, words=str(path))
