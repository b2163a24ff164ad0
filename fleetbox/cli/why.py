"""`fleetbox why`: what a host's launcher refused, or which rule refuses a command there."""

import click

from fleetbox.cli.one_host import one_host
from fleetbox.cli.options import complete_hosts, inventory_option, json_option
from fleetbox.cli.output import print_json
from fleetbox.errors import ApplyFailed, ExitCode, UsageError
from fleetbox.hostside import why_words
from fleetbox.rollout import reasons
from fleetbox.rollout.answers import Failure
from fleetbox.rollout.reasons import Refusals, Rerun
from fleetbox.transport import connect


@click.command(
    epilog="Example: fleetbox why gpu-01 --workspace /srv/project -- make test", options_metavar="[OPTIONS]"
)
@click.argument("host", shell_complete=complete_hosts)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@inventory_option
@click.option("--last", type=click.IntRange(1, 1000), default=5, help="So many refusals (default 5).")
@click.option("--user", metavar="NAME", help="Of this account; for COMMAND the one to run it as.")
@click.option("--policy", metavar="NAME", help="For COMMAND: another policy than the host's default.")
@click.option("--workspace", metavar="DIR", help="For COMMAND: the host's directory to work in.")
@click.option(
    "--timeout",
    type=click.IntRange(1, 3600),
    default=60,
    help="For COMMAND: seconds until it is ended (default 60).",
)
@json_option
def why(
    *,
    host: str,
    command: tuple[str, ...],
    inventory: tuple[str, ...],
    last: int,
    user: str | None,
    policy: str | None,
    workspace: str | None,
    timeout: int,
    as_json: bool,
) -> ExitCode:
    """Say what the launcher on HOST refused last; with -- COMMAND, which rules refuse it.

    COMMAND is run again on the host in its sandbox, as the workload's user, with strace watching from
    outside. Its output is not shown.
    """
    if not command and (policy or workspace):
        raise UsageError("--policy and --workspace are for a command", hint="fleetbox why HOST -- COMMAND")
    transport = connect(one_host(host, inventory))
    answer: Refusals | Rerun | Failure
    try:
        if command:
            answer = reasons.rerun(
                transport, command, user=user, policy=policy, workspace=workspace, timeout=timeout
            )
        else:
            answer = reasons.last(transport, count=last, user=user)
    finally:
        transport.close()
    if isinstance(answer, Failure):
        raise ApplyFailed(f"{host}: {answer.message}", hint=answer.hint)
    _show(host, answer, as_json=as_json)
    return ExitCode.OK


def _show(host: str, answer: Refusals | Rerun, *, as_json: bool) -> None:
    if as_json:
        print_json({"schema_version": 1, "host": host, **answer.model_dump(mode="json")})
        return
    words = why_words.of_rerun if isinstance(answer, Rerun) else why_words.of_log
    click.echo(words(answer.model_dump()), nl=False)
