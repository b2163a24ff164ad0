"""What is installed on hosts: Python 3.9 and later read it, and it needs nothing but the standard library."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from fleetbox.hostside import payload
from fleetbox.hostside.stream import OLDEST_PYTHON, script

REPO = Path(__file__).resolve().parents[3]
SOURCES = payload.sources()
STREAM_LIMIT = 256 * 1024  # bytes; with what is vendored it would be half as much again


@pytest.mark.parametrize("name", SOURCES)
def test_every_module_is_written_for_the_oldest_python(name: str) -> None:
    tree = ast.parse(SOURCES[name], feature_version=OLDEST_PYTHON)
    postponed = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Match)
        assert not (isinstance(node, ast.Call) and _is_zip_strict(node)), f"line {node.lineno}: zip(strict=)"
        if not postponed and isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            assert not _names_a_type(node), f"line {node.lineno}: X | Y needs Python 3.10"


@pytest.mark.parametrize("name", SOURCES)
def test_no_type_alias_is_a_union_that_old_pythons_would_compute(name: str) -> None:
    """Annotations are postponed, but an alias is computed when its module is imported."""
    for node in ast.parse(SOURCES[name]).body:
        value = node.value if isinstance(node, ast.Assign) else None
        unions = [part for part in ast.walk(value) if isinstance(part, ast.BinOp)] if value else []
        assert not any(isinstance(union.op, ast.BitOr) and _names_a_type(union) for union in unions)


@pytest.mark.parametrize("name", SOURCES)
def test_only_the_standard_library_and_itself_are_imported(name: str) -> None:
    allowed = sys.stdlib_module_names | {"fleetbox"}
    for node in ast.walk(ast.parse(SOURCES[name])):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        if isinstance(node, ast.ImportFrom):
            assert str(node.module).split(".")[0] in allowed
            inside = node.module == "fleetbox" or str(node.module).startswith("fleetbox.hostside")
            assert inside or not str(node.module).startswith("fleetbox")


@pytest.mark.parametrize("name", sorted(SOURCES.keys() - {"fleetbox/hostside/verify.py"}))
def test_what_is_vendored_is_imported_by_verify_alone(name: str) -> None:
    for node in ast.walk(ast.parse(SOURCES[name])):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            assert "_vendor" not in ast.unparse(node)


def test_what_is_vendored_is_installed_and_never_streamed() -> None:
    vendored = {name for name in payload.files() if name.startswith("fleetbox/hostside/_vendor/")}
    assert {name.split("/")[3] for name in vendored} == {"__init__.py", "securesystemslib", "tuf", "urllib3"}
    assert not vendored & SOURCES.keys()
    assert len(script(["facts"])) < STREAM_LIMIT


@pytest.mark.parametrize("name", [name for name in payload.files() if "/_vendor/" in name])
def test_what_is_vendored_imports_itself_and_the_standard_library_by_names_of_our_own(name: str) -> None:
    """So whatever `tuf` a machine has in its search path, this is not it, and is not in its way."""
    for node in ast.walk(ast.parse(payload.files()[name])):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
        assert {name.split(".")[0] for name in names}.isdisjoint({"tuf", "securesystemslib", "urllib3"})


def test_a_changed_requirements_file_rebuilds_what_is_vendored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = importlib.util.spec_from_file_location("vendored_build", REPO / "vendored" / "build.py")
    assert found is not None
    assert found.loader is not None
    build = importlib.util.module_from_spec(found)
    found.loader.exec_module(build)
    assert build.is_built()
    changed = tmp_path / "requirements.txt"
    changed.write_text(build.REQUIREMENTS.read_text() + "\n")
    monkeypatch.setattr(build, "REQUIREMENTS", changed)
    assert not build.is_built()


def test_the_installed_tree_runs_alone(tmp_path: Path) -> None:
    payload.lay_out(tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(tmp_path), "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("fleetbox-host ")


def test_a_streamed_program_says_in_words_that_a_python_is_too_old() -> None:
    program = script(["facts"]).replace(str(OLDEST_PYTHON), "(99, 0)", 1)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-"], input=program, capture_output=True, text=True, check=False
    )
    assert done.returncode == 5
    assert '"code": "python_missing"' in done.stdout
    assert "Traceback" not in done.stderr


def test_the_streamed_programs_first_lines_are_plain_ascii_for_any_python() -> None:
    program = script(["why", "--user", "é\"'\n"], stdin=bytes(range(256)))
    assert program.isascii()
    head = program.split("import base64")[0]
    assert 'f"' not in head


def _is_zip_strict(node: ast.Call) -> bool:
    return getattr(node.func, "id", "") == "zip" and any(key.arg == "strict" for key in node.keywords)


def _names_a_type(node: ast.BinOp) -> bool:
    types = {"None", "str", "int", "bytes", "bool", "float", "dict", "list", "tuple", "set"}
    return any(
        (isinstance(side, ast.Constant) and side.value is None)
        or (isinstance(side, ast.Name) and side.id in types)
        or isinstance(side, ast.Subscript)
        for side in (node.left, node.right)
    )
