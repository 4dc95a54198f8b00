"""Knows how to open the ledger's database so that a committed decision survives a power cut.

SQLite: WAL, `synchronous=FULL`, every deciding transaction is BEGIN IMMEDIATE. PostgreSQL: READ COMMITTED with
`synchronous_commit=on`; the decisions are single conditional statements, so no stricter isolation is needed (LG1).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, insert, inspect, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError

from hsm_verifier.ledger.schema import meta, metadata
from hsm_verifier.refusal import Refusal

SCHEMA = "1"
BUSY_MS = 5000
_READING = "hsm_reading"


class LedgerError(Exception):
    """The ledger cannot be used: not ours, of another version, or unreachable. For the operator, never the asker."""


class Store:
    """One database for one audience and one nonce key (LG3)."""

    def __init__(self, url: str, *, pool: int = 8) -> None:
        """Connect lazily. `url` is SQLAlchemy's; a password in it is never shown. Raises LedgerError."""
        try:
            self.url = make_url(url)
            self.engine = _engine(url, pool)
        except (ArgumentError, ImportError):
            raise LedgerError("state.ledger: not a database URL that can be used here") from None
        # SQLite has one writer; queueing here is fair and silent, its own busy handler sleeps and may give up.
        self._writers: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if self.engine.dialect.name == "sqlite" else contextlib.nullcontext()
        )
        self._readers = self.engine.execution_options(**{_READING: True})

    def create(self, *, audience: str, nonce_key: bytes) -> None:
        """Make the tables and write down whose ledger this is. Raises LedgerError when it is someone's already."""
        if self.url.database and self.engine.dialect.name == "sqlite":
            os.close(os.open(self.url.database, os.O_CREAT | os.O_RDWR, 0o600))
        metadata.create_all(self.engine)
        facts = {"schema": SCHEMA, "audience": audience, "nonce_key": fingerprint(nonce_key), "mode": "open"}
        with self.deciding() as tx:
            made = tx.execute(insert_or_nothing(tx, meta).values(name="schema", value=SCHEMA)).rowcount
            if made != 1:
                raise LedgerError("this database holds a ledger already")
            for name, value in facts.items():
                if name != "schema":
                    tx.execute(insert(meta).values(name=name, value=value))

    def prove_ours(self, *, audience: str, nonce_key: bytes) -> None:
        """LG3: raise LedgerError unless this ledger is of this audience, this nonce key and this schema."""
        wanted = {"schema": SCHEMA, "audience": audience, "nonce_key": fingerprint(nonce_key)}
        try:
            if not inspect(self.engine).has_table("meta"):
                raise LedgerError("there is no ledger in this database; run `hsm-verifier init`")
            with self.reading() as tx:
                found = {row[0]: row[1] for row in tx.execute(select(meta.c.name, meta.c.value))}
        except (OperationalError, ProgrammingError) as error:
            raise LedgerError(f"the ledger cannot be opened ({type(error.orig).__name__})") from None
        for name, value in wanted.items():
            if found.get(name) != value:
                raise LedgerError(f"this ledger is another's: {name} differs")

    def mode(self) -> str:
        """Give "open" or "operator" (LG5)."""
        with self.reading() as tx:
            return str(tx.execute(select(meta.c.value).where(meta.c.name == "mode")).scalar_one())

    def set_mode(self, mode: str) -> None:
        """Switch between "open" and "operator" (LG5)."""
        with self.deciding() as tx:
            tx.execute(update(meta).where(meta.c.name == "mode").values(value=mode))

    @contextlib.contextmanager
    def deciding(self) -> Iterator[Connection]:
        """Give a transaction that may write; COMMIT at the end of the block, ROLLBACK on any exception."""
        try:
            with self._writers, self.engine.begin() as connection:
                yield connection
        except OperationalError as error:
            raise Refusal("busy", "V15 ledger_unavailable", status=503, alarm=True) from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a transaction that only reads and never waits for writers."""
        with self._readers.begin() as connection:
            yield connection

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def insert_or_nothing(tx: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Give `INSERT … ON CONFLICT DO NOTHING`, whose row count tells who was first."""
    if tx.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def fingerprint(key: bytes) -> str:
    """Give what may be stored of a secret key to recognise it."""
    return hashlib.sha256(b"hsm-enrol/1 nonce key\x00" + key).hexdigest()[:32]


def sqlite_url(path: Path) -> str:
    """Give the URL of a ledger file."""
    return f"sqlite:///{path.absolute()}"


def _engine(url: str, pool: int) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(
            url,
            pool_size=pool,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            connect_args={"options": "-c synchronous_commit=on -c lock_timeout=5s"},
        )
    engine = create_engine(url, pool_size=pool, connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connected(dbapi: Any, _record: object) -> None:
        dbapi.isolation_level = None  # the driver must not begin transactions of its own
        cursor = dbapi.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        reading = connection.get_execution_options().get(_READING, False)
        connection.exec_driver_sql("BEGIN DEFERRED" if reading else "BEGIN IMMEDIATE")

    return engine
