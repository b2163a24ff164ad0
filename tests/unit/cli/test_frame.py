"""The frame of `fleetbox`: what --help costs, and how every way to fail looks and ends."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

import fleetbox.cli as frame
from fleetbox.errors import ApplyFailed, ExitCode, TrustRefused
from fleetbox.transport import clean


def _fleetbox(*argv: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fleetbox.cli", *argv],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **env},
    )


def test_help_lists_every_command_and_imports_click_alone() -> None:
    program = (
        "import sys, fleetbox.cli\nfleetbox.cli.invoke(['--help'])\n"
        "print([m for m in ('pydantic','paramiko','sqlalchemy','rich','yaml','asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f"\n  {name} " in done.stdout for name in frame.cli.list_commands(click.Context(frame.cli)))


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    context = click.Context(group)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        here = (*path, name)
        found += [here, *(_commands(command, here) if isinstance(command, click.Group) else ())]
    return found


def test_every_command_has_help_and_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for path in [(), *_commands(frame.cli)]:
        assert frame.invoke([*path, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "Example:" in shown, f"fleetbox {' '.join(path)} --help has no example"


@pytest.mark.parametrize("argv", [["bogus"], ["push-policy"], ["inventory", "list", "--nonsense"]])
def test_a_wrong_command_line_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.invoke(argv) == ExitCode.USAGE
    assert capsys.readouterr().out == ""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Make `fleetbox completion` raise."""

    def arrange(error: BaseException) -> None:
        @click.command()
        def completion() -> None:
            raise error

        monkeypatch.setattr("fleetbox.cli.completion.completion", completion)

    return arrange


@pytest.mark.parametrize(
    "error", [ApplyFailed("it broke", hint="mend it"), TrustRefused("it lied", hint="ask")]
)
def test_an_error_is_one_line_a_hint_and_its_exit_code(failing, error, capsys) -> None:
    failing(error)
    assert frame.invoke(["completion"]) == error.exit_code
    captured = capsys.readouterr()
    assert captured.err == f"fleetbox: error: {error.message}\nhint: {error.hint}\n"
    assert captured.out == ""


def test_the_unexpected_is_one_line_and_says_how_to_see_more(failing, capsys, monkeypatch) -> None:
    failing(RuntimeError("two\nlines"))
    monkeypatch.delenv("FLEETBOX_DEBUG", raising=False)
    assert frame.invoke(["completion"]) == ExitCode.INTERNAL
    assert capsys.readouterr().err == (
        "fleetbox: internal error: RuntimeError: two lines\n"
        "hint: run with FLEETBOX_DEBUG=1 for the traceback\n"
    )
    monkeypatch.setenv("FLEETBOX_DEBUG", "1")
    with pytest.raises(RuntimeError):
        frame.invoke(["completion"])


def test_an_interruption_ends_with_130(failing, capsys) -> None:
    failing(KeyboardInterrupt())
    assert frame.invoke(["completion"]) == ExitCode.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_goes_away_causes_no_traceback() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m fleetbox.cli completion bash | true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_each_shell(shell: str) -> None:
    done = _fleetbox("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_FLEETBOX_COMPLETE" in done.stdout


def test_a_completing_shell_gets_the_commands() -> None:
    done = _fleetbox(_FLEETBOX_COMPLETE="bash_complete", COMP_WORDS="fleetbox pu", COMP_CWORD="1")
    assert "plain,push-policy" in done.stdout


@pytest.mark.parametrize(
    ("words", "number", "names"), [("doctor gp", 2, "gpu1"), ("verify -l g", 3, "gpu1 gpu_vms")]
)
def test_a_completing_shell_gets_hosts_and_groups(
    words: str, number: int, names: str, tmp_path: Path
) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("gpu_vms: {hosts: {gpu1: , web: }}\n")
    done = _fleetbox(
        _FLEETBOX_COMPLETE="bash_complete",
        COMP_WORDS=f"fleetbox {words}",
        COMP_CWORD=str(number),
        FLEETBOX_INVENTORY=str(inventory),
    )
    found = {line.removeprefix("plain,") for line in done.stdout.splitlines()}
    assert set(names.split()) <= found <= {"gpu1", "gpu_vms"}


def test_host_text_has_nothing_that_a_terminal_obeys() -> None:
    assert clean(b"a\x1b[31mb\x00\r\nc\xff\xe2\x80\xae") == "a\ufffd[31mb\ufffd\ufffd\nc\ufffd\ufffd"


def test_a_closed_stdout_is_no_error() -> None:
    command = f"{shlex.join([sys.executable, '-m', 'fleetbox.cli', 'checks', 'list'])} >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
