"""The host program streamed over stdin: it answers, installs itself, and otherwise leaves nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleetbox.hostside import paths, payload, stream
from fleetbox.hostside.paths import Places
from tests.support import bundles

PYTHON = [sys.executable, "-I", "-S"]
# The streamed verbs have no option for another root: this is the one line that a test changes.
MAIN = "sys.exit(main("


def streamed(argv: list[str], *, stdin: bytes = b"", root: Path | None = None) -> tuple[int, dict[str, Any]]:
    program = stream.script(argv, stdin)
    if root:
        program = program.replace(MAIN, "from fleetbox.hostside.paths import Places\n" + MAIN)
        program = program[: program.rindex("))")] + f", places=Places({str(root)!r})))\n"
    done = subprocess.run([*PYTHON, "-"], input=program, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def tree(root: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else None for p in root.rglob("*")}


def test_facts_come_from_a_host_whose_every_disk_is_read_only(needs_sandbox: None) -> None:
    """So nothing can be left behind: not a module, not a cache, not a temporary file."""
    argv = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", *PYTHON, "-"]
    done = subprocess.run(argv, input=stream.script(["facts"]), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kernel"]["arch"] == os.uname().machine


def test_what_a_verb_reads_from_stdin_travels_inside(tmp_path: Path) -> None:
    (tmp_path / "var/lib").mkdir(parents=True)
    built = bundles.build()
    code, answer = streamed(["stage", built.digest], stdin=built.tar, root=tmp_path)
    assert (code, answer["changed"]) == (0, True)
    assert (tmp_path / "var/lib/fleetbox/store" / built.hex / "manifest.json").exists()


def test_a_streamed_refusal_keeps_its_code(tmp_path: Path) -> None:
    code, answer = streamed(["rollback", "--to", "zero"], root=tmp_path)
    assert (code, answer["error"]["code"]) == (2, "usage")


def test_the_command_prints_the_program_without_reading_stdin() -> None:
    """Whoever pipes it on may have given it a stdin of their own, that never ends."""
    reading, writing = os.pipe()
    argv = [sys.executable, "-m", "fleetbox.hostside.stream", "facts"]
    done = subprocess.run(argv, stdin=reading, capture_output=True, text=True, timeout=30, check=True)
    os.close(writing)
    os.close(reading)
    assert done.stdout == stream.script(["facts"])


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    code, answer = streamed(["install"], stdin=payload.archive(), root=tmp_path)
    assert (code, answer["changed"], answer["removed"]) == (0, True, [])
    return tmp_path


def test_the_program_installs_itself_and_runs(installed: Path) -> None:
    prefix = installed / paths.PREFIX.lstrip("/")
    entry = installed / paths.HOST_PROGRAM.lstrip("/")
    assert entry.read_text() == f'#!/bin/sh\nexec {paths.PYTHON} -I -S {paths.PREFIX} "$@"\n'
    assert (entry.stat().st_mode & 0o7777, (prefix / "__main__.py").stat().st_mode & 0o7777) == (0o755, 0o644)
    done = subprocess.run([*PYTHON, str(prefix), "status"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["schema_version"] == 1


def test_installing_again_changes_nothing(installed: Path) -> None:
    before = tree(installed)
    code, answer = streamed(["install"], stdin=payload.archive(), root=installed)
    assert (code, answer["changed"], answer["files"]) == (0, False, [])
    assert tree(installed) == before


def test_check_mode_says_what_would_change_and_changes_nothing(tmp_path: Path) -> None:
    code, answer = streamed(["install", "--check"], stdin=payload.archive(), root=tmp_path)
    assert (code, answer["changed"], tree(tmp_path)) == (0, True, {})


def test_an_update_replaces_what_differs_and_removes_what_is_gone(installed: Path) -> None:
    package = installed / paths.PREFIX.lstrip("/") / "fleetbox/hostside"
    (package / "paths.py").write_text("broken")
    (package / "errors.py").chmod(0o666)
    (package / "old.py").touch()
    provisioned = installed / paths.BWRAP.lstrip("/")
    provisioned.parent.mkdir()
    provisioned.touch()
    _, answer = streamed(["install"], stdin=payload.archive(), root=installed)
    assert answer["files"] == [str(package / "errors.py"), str(package / "paths.py")]
    assert answer["removed"] == [str(package / "old.py")]
    assert provisioned.exists(), "the role bubblewrap's, not ours"


def test_a_planted_link_is_replaced_not_followed(installed: Path, open_dir: Path) -> None:
    victim = open_dir / "file"
    victim.write_text("precious")
    entry = Path(Places(str(installed)).under(paths.HOST_PROGRAM))
    entry.unlink()
    entry.symlink_to(victim)
    streamed(["install"], stdin=payload.archive(), root=installed)
    assert not entry.is_symlink()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["../x", "fleetbox/../../x", "/etc/passwd", "bin/bwrap"])
def test_an_archive_of_other_files_is_refused(tmp_path: Path, name: str) -> None:
    code, answer = streamed(["install"], stdin=bundles.pack([(name, b"")]).tar, root=tmp_path)
    assert (code, answer["error"]["code"], tree(tmp_path)) == (2, "usage", {})
