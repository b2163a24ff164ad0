"""Fixtures every kind of test shares: the built launcher, an unprivileged account, tried capabilities.

A capability is tried, never guessed, and CI may not skip: `conftest` turns a skip into a failure when CI
is set, unless its reason is one that CI cannot provide (a macOS machine, a GPU, a WSL kernel).
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["tests.support.hosts.fixtures", "tests.escape.table"]

REPO = Path(__file__).resolve().parent.parent
# No passwd entry on purpose: the launcher must not depend on one.
WORKLOAD_UID = 12345
NOBODY = 65534

# Reasons for a skip that hold on CI too. Everything else must run there.
ALLOWED_ON_CI = (
    "needs a Mac",
    "needs a GPU",
    "needs a WSL kernel",
    "needs npm peers",
    "needs FUSE",
    "needs AppArmor",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files; read the diff")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.skipped and os.environ.get("CI") and not _allowed_on_ci(_reason(report)):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped on CI: {_reason(report)}"
    return report


class _FailuresAtOnce:
    """Names a failure when it happens: a run that is ended before its summary has still said what failed."""

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            what = crash.message.splitlines()[0] if crash and crash.message else str(report.longrepr)[-200:]
            self._terminal.write_line(f"\nFAILED {report.nodeid} ({report.when}): {what}")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_FailuresAtOnce(terminal))


def pytest_sessionstart() -> None:
    """What `nohup` or a script's `&` makes us ignore, every child of ours would ignore as well."""
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave no state of the accounts that tests launch as: without a /run/user the launcher used /tmp.

    Only at the end of the whole run (no worker), and not below a sandbox that another run still has.
    """
    if os.geteuid() == 0 and not hasattr(session.config, "workerinput"):
        for uid in (WORKLOAD_UID, NOBODY):
            _remove_state(Path(f"/tmp/fleetbox-{uid}"))


def _remove_state(state: Path) -> None:
    if not (state / "locks").exists():
        shutil.rmtree(state, ignore_errors=True)
        return
    with (state / "locks").open("r+b") as locks:
        try:
            fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(state, ignore_errors=True)


def _reason(report: pytest.TestReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def _allowed_on_ci(reason: str) -> bool:
    return any(allowed in reason for allowed in ALLOWED_ON_CI)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    _show_rows(
        terminalreporter, "mutation", "mutations: check, where, what was done wrong", "red as it must be"
    )
    _show_rows(terminalreporter, "gpu", "GPUs: host, policy, what the sandbox has of them", "as it must be")
    skips = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    terminalreporter.section("skips by reason")
    for reason, count in sorted(skips.items()):
        terminalreporter.write_line(f"{count:4d}  {reason}")
    if not skips:
        terminalreporter.write_line("   0  nothing was skipped")


def _show_rows(terminalreporter: Any, wanted: str, title: str, good: str) -> None:
    """What tests recorded under one key, and whether each passed: a table that people read."""
    rows = [
        (name == "passed", text)
        for name in ("passed", "failed")
        for report in terminalreporter.stats.get(name, [])
        for key, text in report.user_properties
        if key == wanted
    ]
    if rows:
        terminalreporter.section(title)
        for passed, text in sorted(rows, key=lambda row: row[1]):
            terminalreporter.write_line(f"{good if passed else 'NOT AS IT MUST BE'}  {text}")


@pytest.fixture(scope="session")
def launcher() -> Path:
    """The launcher of this checkout, built when its sources are newer; `make sanitize` gives another."""
    if given := os.environ.get("FLEETBOX_LAUNCHER"):
        return Path(given)
    done = subprocess.run(
        [sys.executable, str(REPO / "launcher" / "build.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return REPO / "fleetbox" / "bin" / f"fleetbox-run-linux-{os.uname().machine}"


RunAs = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def workload_user() -> int:
    """Uid and gid of an account without privileges, without a passwd entry."""
    return WORKLOAD_UID if os.geteuid() == 0 else os.geteuid()


@pytest.fixture
def run_as(workload_user: int, open_dir: Path) -> RunAs:
    """Run a command as the unprivileged account, HOME being `open_dir`/home, with a plain environment."""
    home = open_dir / "home"
    home.mkdir(exist_ok=True)
    give_to(home, workload_user)

    def run(
        argv: Sequence[str | os.PathLike[str]], *, env: Mapping[str, str] | None = None, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        plain = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", **(env or {})}
        settings: dict[str, Any] = {
            "capture_output": True,
            "text": True,
            "timeout": 60,
            "cwd": home,
            **options,
        }
        if os.geteuid() == 0:
            settings |= {"user": workload_user, "group": workload_user, "extra_groups": []}
        return subprocess.run([os.fspath(word) for word in argv], check=False, env=plain, **settings)

    return run


def give_to(path: Path, uid: int) -> None:
    """Hand a file or directory to the account; a no-op when the tests run as that account."""
    if os.geteuid() == 0:
        os.chown(path, uid, uid, follow_symlinks=False)


@pytest.fixture
def open_dir(workload_user: int) -> Iterator[Path]:
    """A fresh directory that the unprivileged account owns (pytest's own are 0700 and root's).

    Not below /tmp or /var/tmp: a sandbox has its own of those, and a home there would be invisible in it.
    """
    path = Path(tempfile.mkdtemp(prefix="fleetbox-tests-", dir="/srv" if os.geteuid() == 0 else Path.home()))
    path.chmod(0o755)
    give_to(path, workload_user)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def needs_sandbox(workload_user: int) -> None:
    """Skip (fail on CI) where bubblewrap cannot make a sandbox for an unprivileged user."""
    argv = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"]
    options: dict[str, Any] = (
        {"user": workload_user, "group": workload_user, "extra_groups": []} if os.geteuid() == 0 else {}
    )
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=30, cwd="/", **options
        )
    except FileNotFoundError:
        pytest.skip("needs bubblewrap: bwrap is not on PATH")
    if done.returncode != 0:
        pytest.skip(f"needs user namespaces: {done.stderr.strip()}")
