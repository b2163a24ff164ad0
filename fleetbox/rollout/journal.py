"""The record of what was pushed to whom, and of what each host answered.

An entry is begun before the first host is contacted, so that a controller that dies leaves a trace. The
policies themselves are kept beside it in canonical form, named by digest, because a host names only
digests and a difference needs both sides.
"""

import getpass
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from fleetbox.errors import ExitCode, PolicyError, UsageError
from fleetbox.policy import ResolvedPolicy, load_policy
from fleetbox.rollout.outcome import HostOutcome

_META = sa.MetaData()
_ENTRY = sa.Table(
    "entry",
    _META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("verb", sa.String, nullable=False),
    sa.Column("bundle", sa.String),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("begun", sa.String, nullable=False),
    sa.Column("ended", sa.String),
    sa.Column("exit_code", sa.Integer),
)
_ENTRY_HOST = sa.Table(
    "entry_host",
    _META,
    sa.Column("entry", sa.ForeignKey("entry.id"), primary_key=True),
    sa.Column("host", sa.String, primary_key=True),
    sa.Column("outcome", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("message", sa.String, nullable=False),
    sa.Column("generation", sa.Integer),
    sa.Column("digest", sa.String),
)
_BUNDLE_POLICY = sa.Table(
    "bundle_policy",
    _META,
    sa.Column("bundle", sa.String, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("policy", sa.String, nullable=False),
)

_BUNDLE_COMPILER = sa.Table(
    "bundle_compiler",
    _META,
    sa.Column("bundle", sa.String, primary_key=True),
    sa.Column("compiler", sa.String, nullable=False),
)


class Journal:
    """Opened on a state directory; what it makes there is private to the caller. Times are UTC, ISO 8601."""

    def __init__(self, state_dir: Path) -> None:
        """Raises UsageError when the directory cannot be used."""
        self._policies = state_dir / "policies"
        database = state_dir / "journal.db"
        self._engine = sa.create_engine(f"sqlite:///{database}")
        sa.event.listen(self._engine, "connect", _durable)
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._policies.mkdir(mode=0o700, exist_ok=True)
            database.touch(mode=0o600)
            _META.create_all(self._engine)
        except (OSError, sa.exc.SQLAlchemyError) as problem:
            raise UsageError(
                f"the journal {database} cannot be used: {str(problem).splitlines()[0]}",
                hint="choose another place with --state-dir",
            ) from problem

    def begin(self, verb: str, *, bundle: str | None, policies: Sequence[ResolvedPolicy] = ()) -> int:
        """Open an entry and keep the policies; returns its number."""
        for policy in policies:
            self._keep(policy)
        with self._engine.begin() as connection:
            if bundle is not None:
                self._name_policies(connection, bundle, policies)
            values = {"verb": verb, "bundle": bundle, "by": caller(), "begun": _now()}
            entry = connection.scalar(_ENTRY.insert().values(values).returning(_ENTRY.c.id))
        return int(entry or 0)

    def end(self, entry: int, outcomes: Sequence[HostOutcome], exit_code: ExitCode) -> None:
        """Close an entry with what each host answered."""
        rows = [
            {
                "entry": entry,
                "host": outcome.host,
                "outcome": outcome.outcome.value,
                "reason": outcome.reason,
                "message": outcome.message,
                "generation": outcome.generation,
                "digest": outcome.digest,
            }
            for outcome in outcomes
        ]
        with self._engine.begin() as connection:
            connection.execute(_ENTRY_HOST.insert(), rows)
            closing = {"ended": _now(), "exit_code": int(exit_code)}
            connection.execute(_ENTRY.update().where(_ENTRY.c.id == entry).values(closing))

    def bundles(self, limit: int) -> tuple[str, ...]:
        """Digests of the bundles that were pushed from here, the last pushed first."""
        last = sa.func.max(_ENTRY.c.id)
        pushed = sa.select(_ENTRY.c.bundle).where(_ENTRY.c.bundle.is_not(None))
        query = pushed.group_by(_ENTRY.c.bundle).order_by(last.desc()).limit(limit)
        with self._engine.connect() as connection:
            return tuple(str(digest) for digest in connection.scalars(query))

    def note_compiler(self, bundle: str, compiler: str) -> None:
        """Keep which version of fleetbox compiled a bundle, where nothing is known of it yet."""
        if self.compiler_of(bundle) is None:
            with self._engine.begin() as connection:
                row = sqlite.insert(_BUNDLE_COMPILER).values(bundle=bundle, compiler=compiler)
                connection.execute(row.on_conflict_do_nothing())

    def compiler_of(self, bundle: str) -> str | None:
        """What `note_compiler` kept; None for a bundle of which it kept nothing."""
        query = sa.select(_BUNDLE_COMPILER.c.compiler).where(_BUNDLE_COMPILER.c.bundle == bundle)
        with self._engine.connect() as connection:
            found: str | None = connection.scalar(query)
        return found

    def policies_of(self, bundle: str) -> tuple[ResolvedPolicy, ...]:
        """The policies of a bundle that was pushed from here, the default first; empty for any other."""
        query = sa.select(_BUNDLE_POLICY.c.policy).where(_BUNDLE_POLICY.c.bundle == bundle)
        with self._engine.connect() as connection:
            digests = connection.scalars(query.order_by(_BUNDLE_POLICY.c.position)).all()
        try:
            return tuple(load_policy(self._file(digest)) for digest in digests)
        except PolicyError:
            # Kept by another version, whose schema had other fields: as good as unknown.
            return ()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _keep(self, policy: ResolvedPolicy) -> None:
        path = self._file(policy.digest)
        if not path.exists():
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_bytes(policy.canonical_json())
            temporary.replace(path)

    def _file(self, digest: str) -> Path:
        return self._policies / f"{digest.removeprefix('sha256:')}.json"

    def _name_policies(
        self, connection: sa.Connection, bundle: str, policies: Sequence[ResolvedPolicy]
    ) -> None:
        known = sa.select(_BUNDLE_POLICY.c.policy).where(_BUNDLE_POLICY.c.bundle == bundle)
        if connection.execute(known).first() is None:
            rows = [
                {"bundle": bundle, "position": position, "policy": policy.digest}
                for position, policy in enumerate(policies)
            ]
            connection.execute(_BUNDLE_POLICY.insert(), rows)


def _durable(connection: "sa.engine.interfaces.DBAPIConnection", _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def caller() -> str:
    """Who pushes: the person behind sudo, where there is one."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
