"""What outlives a command: one row per run, the latest of each host, and what was pushed to whom.

The latest rows hold the statuses apart from the evidence, so that a matrix of many hosts reads little. The
schema is Alembic's; a database that is at the head already is opened without importing it.
"""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from fleetbox.conformance.collect import Intent
from fleetbox.conformance.model import HostRecord, HostState, Run, Status, now
from fleetbox.errors import ExitCode, UsageError

HEAD = "0001"
_META = sa.MetaData()


def _table(name: str, texts: str, numbers: str = "") -> sa.Table:
    """A table as queries need it; its types and constraints are the migrations' business."""
    columns = [sa.Column(column, sa.String) for column in texts.split()]
    return sa.Table(name, _META, *columns, *(sa.Column(column, sa.Integer) for column in numbers.split()))


_RUNS = _table("runs", "run_id started finished trigger selection detail", "hosts exit_code")
_LATEST = _table("latest", "host run_id at state reason policy statuses record")
_PUSHES = _table("pushes", "host at host_id policy policy_digest bundle checks", "generation")


@dataclass(frozen=True)
class RunRow:
    """One line of history."""

    run_id: str
    started: str
    trigger: str
    selection: str
    hosts: int
    exit_code: int


@dataclass(frozen=True)
class LatestRow:
    """What is known of one host: its statuses by check id, from the run at `at`."""

    host: str
    at: str
    state: HostState
    reason: str
    policy: str
    statuses: dict[str, Status]


def new_run_id() -> str:
    """Sorts by time, and cannot be guessed."""
    return f"{int(time.time() * 1000):012x}-{secrets.token_hex(5)}"


class Store:
    """Opened on an SQLAlchemy URL; SQLite files are made private to the caller. Safe to use from threads."""

    def __init__(self, url: str) -> None:
        """Raises UsageError when the database cannot be used."""
        target = sa.make_url(url)
        try:
            self._engine = sa.create_engine(target)
            if target.drivername.startswith("sqlite") and target.database:
                _make_private(target.database)
                sa.event.listen(self._engine, "connect", _pragmas)
                with _alone(os.path.dirname(os.path.abspath(target.database))):
                    _migrate(self._engine)
            else:
                _migrate(self._engine)
        except (OSError, sa.exc.SQLAlchemyError) as problem:
            raise UsageError(
                f"the results database cannot be used: {str(problem).splitlines()[0]}",
                hint="choose another place with --state-dir",
            ) from problem

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def record_push(
        self, host: str, *, policy: str, policy_digest: str, bundle: str, generation: int,
        checks: Sequence[dict[str, Any]], host_id: str = "",
    ) -> None:  # fmt: skip
        """Remember what a host must enforce from now on. Without `host_id` the next answer decides it."""
        row = {
            "host": host, "at": now().isoformat(), "host_id": host_id, "policy": policy,
            "policy_digest": policy_digest, "bundle": bundle, "generation": generation,
            "checks": json.dumps(list(checks)),
        }  # fmt: skip
        with self._engine.begin() as connection:
            _replace(connection, _PUSHES, row)

    def intended(self, host: str) -> Intent | None:
        """What was pushed to a host last; None for a host that nothing was pushed to from here."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_PUSHES).where(_PUSHES.c.host == host)).mappings().first()
        if row is None:
            return None
        return Intent(row["policy"], row["policy_digest"], json.loads(row["checks"]), row["host_id"])

    def save(self, run: Run, exit_code: ExitCode) -> None:
        """Add a run to the history and make its records the latest ones."""
        with self._engine.begin() as connection:
            connection.execute(_RUNS.insert().values(_run_row(run, exit_code)))
            for record in run.hosts:
                _replace(connection, _LATEST, _latest_row(run, record))
                if record.host.host_id:
                    known = _PUSHES.update().where(_PUSHES.c.host == record.name, _PUSHES.c.host_id == "")
                    connection.execute(known.values(host_id=record.host.host_id))

    def runs(self, limit: int = 20) -> list[RunRow]:
        """The latest runs, newest first."""
        columns = [_RUNS.c[name] for name in RunRow.__dataclass_fields__]
        query = sa.select(*columns).order_by(_RUNS.c.run_id.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [RunRow(**row) for row in connection.execute(query).mappings()]

    def run(self, run_id: str = "") -> Run | None:
        """A run by its id or the beginning of it, the last one without; None if there is none such."""
        query = sa.select(_RUNS.c.detail).where(_RUNS.c.run_id.startswith(run_id, autoescape=True))
        with self._engine.connect() as connection:
            detail = connection.scalar(query.order_by(_RUNS.c.run_id.desc()).limit(1))
        return Run.model_validate_json(detail) if detail else None

    def latest(self) -> list[LatestRow]:
        """The latest of every host, by name."""
        names = list(LatestRow.__dataclass_fields__)
        query = sa.select(*(_LATEST.c[name] for name in names)).order_by(_LATEST.c.host)
        with self._engine.connect() as connection:
            return [_as_latest(dict(row)) for row in connection.execute(query).mappings()]

    def record(self, host: str) -> HostRecord | None:
        """The latest record of one host, with its evidence."""
        with self._engine.connect() as connection:
            text = connection.scalar(sa.select(_LATEST.c.record).where(_LATEST.c.host == host))
        return HostRecord.model_validate_json(text) if text else None


def _as_latest(row: dict[str, Any]) -> LatestRow:
    statuses = {check: Status(status) for check, status in json.loads(row.pop("statuses")).items()}
    return LatestRow(state=HostState(row.pop("state")), statuses=statuses, **row)


def _run_row(run: Run, exit_code: ExitCode) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "started": run.started.isoformat(),
        "finished": run.finished.isoformat(),
        "trigger": run.trigger,
        "selection": run.selection,
        "hosts": len(run.hosts),
        "exit_code": int(exit_code),
        "detail": run.model_dump_json(),
    }


def _latest_row(run: Run, record: HostRecord) -> dict[str, Any]:
    return {
        "host": record.name,
        "run_id": run.run_id,
        "at": run.finished.isoformat(),
        "state": record.state.value,
        "reason": record.reason,
        "policy": record.policy,
        "statuses": json.dumps({result.check_id: result.status.value for result in record.results}),
        "record": record.model_dump_json(),
    }


def _replace(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> None:
    """Delete and insert: the one upsert that every database understands."""
    connection.execute(table.delete().where(table.c.host == row["host"]))
    connection.execute(table.insert().values(row))


def _make_private(database: str) -> None:
    os.makedirs(os.path.dirname(os.path.abspath(database)), mode=0o700, exist_ok=True)
    os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


@contextmanager
def _alone(directory: str) -> Iterator[None]:
    """One command at a time opens the database: SQLite does not wait when two make it a WAL one at once."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("busy_timeout = 10000", "journal_mode = WAL", "synchronous = NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _migrate(engine: sa.Engine) -> None:
    """Bring the schema to the head. Two commands at once: the second waits, and finds it done."""
    if _version(engine) == HEAD:
        return
    from alembic import command  # noqa: PLC0415 (100 ms that an up-to-date database need not pay)
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "fleetbox.conformance:migrations")
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _version(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return found
