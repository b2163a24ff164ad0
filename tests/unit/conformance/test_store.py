"""What is stored comes back, privately, and two commands at once do not lose anything."""

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from fleetbox.conformance import store as store_module
from fleetbox.conformance.model import HostState, Status
from fleetbox.conformance.store import HEAD, Store, new_run_id
from fleetbox.errors import ExitCode, UsageError
from tests.unit.conformance.made import DIGEST, host, result, run

CHECKS = [{"id": "FBX-FS-001", "params": {"granted": []}}]


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'state' / 'results.db'}"


def pushed(store: Store, name: str = "gpu1", **more: str) -> None:
    store.record_push(
        name, policy="base", policy_digest=DIGEST, bundle=DIGEST, generation=3, checks=CHECKS, **more
    )


def test_the_database_and_its_folder_are_private(tmp_path: Path) -> None:
    Store(url(tmp_path)).close()
    folder = tmp_path / "state"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir())


def test_a_run_comes_back_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    store = Store(url(tmp_path))
    stored = run(host("gpu1", result()), run_id=new_run_id())
    store.save(stored, ExitCode.OK)
    assert store.run(stored.run_id[:15]) == stored
    assert store.run() == stored
    assert store.run("%") is None
    assert [row.run_id for row in store.runs()] == [stored.run_id]


def test_the_latest_run_of_a_host_wins_and_others_keep_theirs(tmp_path: Path) -> None:
    store = Store(url(tmp_path))
    store.save(run(host("a", result()), host("b", result()), run_id="1"), ExitCode.OK)
    store.save(run(host("a", result(status=Status.FAIL)), run_id="2"), ExitCode.NONCONFORMANT)
    latest = {row.host: row.statuses["FBX-FS-001"] for row in store.latest()}
    assert latest == {"a": Status.FAIL, "b": Status.PASS}
    assert len(store.runs()) == 2


def test_a_refused_host_is_kept_with_its_reason(tmp_path: Path) -> None:
    store = Store(url(tmp_path))
    store.save(run(host("wsl1", state=HostState.REFUSED, reason="WSL1")), ExitCode.COVERAGE_TOO_LOW)
    (row,) = store.latest()
    assert (row.state, row.reason, row.statuses) == (HostState.REFUSED, "WSL1", {})


def test_the_last_push_is_what_is_intended(tmp_path: Path) -> None:
    store = Store(url(tmp_path))
    assert store.intended("gpu1") is None
    pushed(store)
    intent = store.intended("gpu1")
    assert intent is not None
    assert (intent.policy, intent.digest, intent.checks, intent.host_id) == ("base", DIGEST, CHECKS, "")


def test_the_first_answer_after_a_push_fixes_the_hosts_identity(tmp_path: Path) -> None:
    store = Store(url(tmp_path))
    pushed(store)
    for claimed in ("a" * 64, "b" * 64):
        store.save(run(host("gpu1", host={"host_id": claimed}), run_id=claimed[:4]), ExitCode.OK)
    intent = store.intended("gpu1")
    assert intent is not None
    assert intent.host_id == "a" * 64


def test_two_commands_that_open_a_new_database_at_once_both_can(tmp_path: Path) -> None:
    problems: list[BaseException] = []

    def use(name: str) -> None:
        try:
            store = Store(url(tmp_path))
            store.save(run(host(name, result()), run_id=name), ExitCode.OK)
            store.close()
        except BaseException as problem:  # noqa: BLE001 (told by the main thread)
            problems.append(problem)

    threads = [threading.Thread(target=use, args=(f"h{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(Store(url(tmp_path)).runs()) == 4


def test_head_is_the_newest_migration_and_makes_the_columns_that_are_used(tmp_path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", "fleetbox.conformance:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD
    Store(url(tmp_path)).close()
    inspector = sa.inspect(sa.create_engine(url(tmp_path)))
    for table in store_module._META.tables.values():
        made = {column["name"] for column in inspector.get_columns(table.name)}
        assert made == {column.name for column in table.columns}


def test_a_database_that_cannot_be_used_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(UsageError, match="results database"):
        Store(url(tmp_path))
