"""`python -m tests.support.hosts`: labs from a shell, for the demo, molecule and debugging.

    up LAB [HOST…]            make a lab, or add hosts to one: web gpu=trixie,gpu=nvidia old,wsl1
    down LAB [HOST…]          take hosts, or the whole lab, down
    exec LAB HOST -- CMD      run a command as root inside a host
    ssh LAB HOST [-- CMD]     log in as dev, as everything under test does
    controller LAB -- CMD     run a command in the lab's network: ansible-playbook, fleetbox, molecule
    list                      running labs and their hosts
    trees SUITE…              build the suites' trees now (inside a lab there is no way out)
    check                     say which kinds of host work here, and why others do not

A host is NAME[=SUITE] followed by ,kind=systemd|uml|uml-systemd|qemu|qemu-aarch64 ,wsl1 ,wsl2 ,masked-proc
,gpu=nvidia|nvidia8|mig|amd|intel|mixed|jetson|dxg|nodriver|nodes (gpus.py) ,userns=ENOSPC|…
,disk=SIZE/INODES ,sysctl=NAME=VALUE ,apparmor=ubuntu ,boot=WORD ,group=NAME.
A lab stays up until `down`, or until the process given with --owner ends.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from typing import NoReturn

from tests.support.hosts import capability, cleanup, trees
from tests.support.hosts.errors import HostsError
from tests.support.hosts.lab import Lab
from tests.support.hosts.spec import HostSpec, SpecInvalid, Suite
from tests.support.hosts.state import LabState, every_lab

KINDS = {
    "namespace host, Debian 12": "check=bookworm",
    "namespace host, Debian 13": "check=trixie",
    "says it is WSL1": "check,wsl1",
    "says it is WSL2, dxg": "check,wsl2,gpu=dxg",
    "masked /proc": "check,masked-proc",
    "GPU nodes, and what drivers show": "check,gpu=mixed",
    "no user namespaces, ENOSPC": "check,userns=ENOSPC",
    "no user namespaces, EPERM": "check,userns=EPERM",
    "no user namespaces, EINVAL": "check,userns=EINVAL",
    "small disk": "check,disk=24m/512",
    "systemd as pid 1, Debian 12": "check=bookworm,kind=systemd",
    "user-mode Linux": "check,kind=uml",
    "its own kernel, with systemd and AppArmor": "check,kind=uml-systemd,apparmor=ubuntu",
    "QEMU, Debian 13's kernel": "check=trixie,kind=qemu",
    "QEMU, the same for aarch64": "check=trixie,kind=qemu-aarch64",
}
NOT_BUILT = ("podman", "darwin")


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    # `timeout` and a CI runner stop a job with SIGTERM: leave in order, through the same doors as Ctrl-C.
    signal.signal(signal.SIGTERM, _leave)
    try:
        return int(options.call(options))
    except (HostsError, SpecInvalid) as error:
        print(f"hosts: {error}", file=sys.stderr)
        return 1


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _up(options: argparse.Namespace) -> int:
    specs = [HostSpec.parse(word) for word in options.hosts]
    if LabState.named(options.lab).kept():
        Lab.open(options.lab).up(*specs)
        return 0
    lab = Lab.create(options.lab, owner=options.owner)
    try:
        lab.up(*specs)
    except BaseException:  # also Ctrl-C: a lab that never stood must not stay
        lab.close()
        raise
    if options.owner is None:
        lab.detach()
    print(lab.inventory)
    return 0


def _down(options: argparse.Namespace) -> int:
    stale = cleanup.sweep()
    if options.lab in stale:
        return 0
    lab = Lab.open(options.lab)
    if options.hosts:
        lab.down(*(lab.host(name) for name in options.hosts))
    else:
        lab.close()
    return 0


def _exec(options: argparse.Namespace) -> NoReturn:
    _become(Lab.open(options.lab).host(options.host).exec_argv(options.command))


def _ssh(options: argparse.Namespace) -> NoReturn:
    _become(Lab.open(options.lab).host(options.host).ssh_argv(options.command))


def _controller(options: argparse.Namespace) -> NoReturn:
    lab = Lab.open(options.lab)
    _become(lab.controller_argv(options.command), lab.controller_env())


def _become(argv: list[str], env: dict[str, str] | None = None) -> NoReturn:
    os.execvpe(argv[0], argv, env or dict(os.environ))  # noqa: S606 - no shell is the point


def _list(_options: argparse.Namespace) -> int:
    for state in every_lab():
        print(state.name if state.kept() else f"{state.name} (stale: the next `up` or `down` removes it)")
        with contextlib.suppress(FileNotFoundError):  # it went down while we looked
            for host in Lab(state).hosts():
                print(f"  {host.name:<16} {host.address:<12} {host.spec.suite}")
    return 0


def _trees(options: argparse.Namespace) -> int:
    for suite in options.suites:
        print(trees.ensure(Suite(suite)))
    return 0


def _check(_options: argparse.Namespace) -> int:
    failed = 0
    for kind, host in KINDS.items():
        problem = capability.problem(host)
        failed += problem is not None
        print(f"{kind:<41} {'works' if problem is None else f'does not work: {problem}'}")
    for kind in NOT_BUILT:
        print(f"{kind:<41} not built")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.hosts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    up = verbs.add_parser("up")
    up.add_argument("lab")
    up.add_argument("hosts", nargs="*", metavar="HOST")
    up.add_argument("--owner", type=int, metavar="PID", help="take the lab down when this process ends")
    up.set_defaults(call=_up)
    down = verbs.add_parser("down")
    down.add_argument("lab")
    down.add_argument("hosts", nargs="*", metavar="HOST")
    down.set_defaults(call=_down)
    for name, call in (("exec", _exec), ("ssh", _ssh)):
        verb = verbs.add_parser(name)
        verb.add_argument("lab")
        verb.add_argument("host")
        verb.add_argument("command", nargs="*" if name == "ssh" else "+")
        verb.set_defaults(call=call)
    controller = verbs.add_parser("controller")
    controller.add_argument("lab")
    controller.add_argument("command", nargs="+")
    controller.set_defaults(call=_controller)
    verbs.add_parser("list").set_defaults(call=_list)
    build = verbs.add_parser("trees")
    build.add_argument("suites", nargs="+", choices=list(Suite), metavar="SUITE")
    build.set_defaults(call=_trees)
    verbs.add_parser("check").set_defaults(call=_check)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
