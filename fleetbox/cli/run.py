"""`fleetbox run`: try a policy on this machine, without root and without installing anything.

It replaces itself with the launcher, so that signals, the terminal and the exit code are the launcher's and
nothing of Python stays in between.
"""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click

from fleetbox.bundle import tryout
from fleetbox.errors import ExitCode, UsageError
from fleetbox.policy import load_policy

_BIN = Path(__file__).resolve().parent.parent / "bin"

_EPILOG = """\b
Example:
  fleetbox run --policy policies/gpu-workstation.yml -- python train.py

\b
Exit codes: the command's own; 125 when the launcher refuses, 126 and 127 as
shells do, 128+N after signal N; 3 when the policy is invalid."""


@click.command(epilog=_EPILOG, context_settings={"allow_interspersed_args": False})
@click.option(
    "--policy",
    "policy_file",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The policy to try.",
)
@click.option(
    "--workspace",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The directory that the workload works in; by default the current one.",
)
@click.option(
    "--print-launch",
    is_flag=True,
    help="Run nothing; print the launcher's command and the exact bwrap command, quoted to paste.",
)
@click.option("--explain", is_flag=True, help="Run nothing; say in words what the sandbox would be.")
@click.argument("command", nargs=-1, metavar="-- COMMAND...", type=click.UNPROCESSED)
def run(
    policy_file: Path, workspace: Path | None, print_launch: bool, explain: bool, command: tuple[str, ...]
) -> int:
    """Run COMMAND in the sandbox that a policy describes, on this machine.

    Nothing is installed and root is not needed; the compiled policy is kept in your cache directory.
    """
    if print_launch and explain:
        raise UsageError("--print-launch and --explain exclude each other", hint="use one of them")
    if not command:
        raise UsageError("no command to run", hint="put it after --: fleetbox run --policy FILE -- COMMAND")
    policy, launcher = load_policy(policy_file), find_launcher()
    tryout.refuse_what_it_could_rewrite(
        policy,
        [policy_file, _BIN.parent, Path(sys.prefix)],
        workspace=workspace or Path.cwd(),
        home=Path(os.environ.get("HOME") or "/"),
    )
    launch_plan = tryout.prepare(policy, launcher)
    argv = [str(launch_plan.with_name(tryout.LAUNCHER)), "--plan", str(launch_plan)]
    argv += ["--workspace", str(workspace)] if workspace else []
    if print_launch:
        return _print_launch(argv, command)
    return _become([*argv, *(["--explain"] if explain else []), "--", *command])


def find_launcher() -> Path:
    """The launcher built into the package for this machine. Raises UsageError where there is none."""
    system = os.uname()
    launcher = _BIN / f"fleetbox-run-{system.sysname.lower()}-{system.machine}"
    if not os.access(launcher, os.X_OK):
        raise UsageError(f"no launcher for this machine: {launcher} is missing", hint="run: make setup")
    return launcher


def _print_launch(argv: list[str], command: tuple[str, ...]) -> int:
    """Both lines or none: the bwrap command is the launcher's own word, not built a second time here."""
    dry_run = subprocess.run([*argv, "--dry-run", "--", *command], stdout=subprocess.PIPE, check=False)
    if dry_run.returncode != 0:
        # Problem and hint are on stderr already, in the launcher's words.
        return dry_run.returncode if dry_run.returncode > 0 else 128 - dry_run.returncode
    click.echo(shlex.join([*argv, "--", *command]))
    click.echo(dry_run.stdout, nl=False)
    return ExitCode.OK


def _become(argv: list[str]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores these two, and what is ignored stays so across exec: `yes | head` would never end.
    for name in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(name, signal.SIG_DFL)
    try:
        os.execv(argv[0], argv)  # noqa: S606 (no shell is the point)
    except OSError as error:
        problem = f"cannot start the launcher {argv[0]}: {error.strerror}"
        hint = "set XDG_CACHE_HOME to a directory from which programs may start"
        raise UsageError(problem, hint=hint) from error
