"""Knows how to open the ledger's database so that a committed decision survives a power cut.

SQLite: WAL, `synchronous=FULL`, every deciding transaction is BEGIN IMMEDIATE. PostgreSQL: READ COMMITTED with
`synchronous_commit=on`; the decisions are single conditional statements, so no stricter isolation is needed (LG1). Who
only reads there has no transaction: READ COMMITTED promises nothing from one statement to the next, and BEGIN and
COMMIT are two messages more.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from hsm_verifier.ledger.statements import run_text

READING = "hsm_reading"
USED = "hsm_used"  # when a connection was given back, in monotonic seconds
BUSY_MS = 5000
MOST = 16  # connections kept to PostgreSQL, however many workers: its default is 100 for all verifiers together
FRESH = 1.0  # seconds for which a connection that was just used is taken to be alive without asking
EXTRA = 2  # connections beyond the pool: an operator's command or a check beside full workers
PATIENCE = 5  # seconds to wait for a connection
SESSION = {
    "synchronous_commit": "on",
    "lock_timeout": "5s",
    "statement_timeout": "10s",
    # A verifier that hangs in the middle of a decision must not hold a row that a whole fleet waits for.
    "idle_in_transaction_session_timeout": "15s",
}
COUNTING = {"preserve_rowcount": True}  # LG1: without it SQLAlchemy forgets an INSERT's row count on PostgreSQL
DEAD_PEER_MS = 10_000  # a database host that vanished without a word is given up after this time
# Also by who has said all and waits for a reply: nothing is unacknowledged then, and the kernel asks after two hours.
ASK_AFTER = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 2}


class LedgerError(Exception):
    """The ledger cannot be used: not ours, of another version, or unreachable. For the operator, never the asker."""


class LedgerAddressError(LedgerError):
    """`state.ledger` is the address of no ledger."""


def parse_url(url: str) -> URL:
    """Read `sqlite:///PATH` or `postgresql://USER@HOST/DATABASE?…` (libpq's options). Raises LedgerAddressError.

    A password in it is refused: the settings file may be read by others and ends up in tickets.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter of a port that is no number
        raise LedgerAddressError("state.ledger: not a database URL") from None
    if parsed.password is not None or "password" in parsed.query:
        what = "no password in the URL; put it into a file that state.ledger_password names"
        raise LedgerAddressError(f"state.ledger: {what}")
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    # In sqlite://PATH the path is taken for a host.
    if parsed.drivername not in {"sqlite", "postgresql+psycopg"} or (parsed.drivername == "sqlite" and parsed.host):
        raise LedgerAddressError("state.ledger: sqlite:///PATH or postgresql://USER@HOST/DATABASE")
    return parsed


def open_engine(url: URL, *, password: str, pool: int) -> Engine:
    """Give an engine that connects when asked, with `pool` connections kept, fewer where they are dear."""
    return _sqlite(url, pool) if url.get_backend_name() == "sqlite" else _postgresql(url, password, pool)


def _postgresql(url: URL, password: str, pool: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=min(pool, MOST),
        max_overflow=EXTRA,
        pool_timeout=PATIENCE,
        isolation_level="AUTOCOMMIT",  # the driver must not begin transactions of its own
        hide_parameters=True,
        execution_options=COUNTING,
        connect_args={
            "options": " ".join((_options(url), *(f"-c {name}={value}" for name, value in SESSION.items()))).strip(),
            "connect_timeout": PATIENCE,
            "tcp_user_timeout": DEAD_PEER_MS,
            **ASK_AFTER,
            **({"password": password} if password else {}),
        },
    )

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        if not connection.get_execution_options().get(READING, False):
            run_text(connection, "BEGIN ISOLATION LEVEL READ COMMITTED")

    @event.listens_for(engine, "checkin")
    def _given_back(_dbapi: Any, record: ConnectionPoolEntry) -> None:
        record.info[USED] = time.monotonic()

    broke = 0.0  # when a connection was last found dead: the others may have died of the same

    @event.listens_for(engine, "invalidate")
    def _found_dead(_dbapi: Any, _record: ConnectionPoolEntry, _why: object) -> None:
        nonlocal broke
        broke = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _taken(dbapi: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        """Ask whether it is alive; each decision would wait for that answer if it were asked every time."""
        now = time.monotonic()
        used = record.info.get(USED, now)
        if used > broke and now - used <= FRESH:
            return
        try:
            engine.dialect.do_ping(dbapi)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    return engine


def _options(url: URL) -> str:
    """Give the address's own `options` (a search_path, say); ours stand after them and so above them."""
    given = url.query.get("options", "")
    return given if isinstance(given, str) else " ".join(given)


def _sqlite(url: URL, pool: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool,
        hide_parameters=True,
        execution_options=COUNTING,
        connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _connected(dbapi: Any, _record: object) -> None:
        dbapi.isolation_level = None  # the driver must not begin transactions of its own
        cursor = dbapi.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        reading = connection.get_execution_options().get(READING, False)
        run_text(connection, "BEGIN DEFERRED" if reading else "BEGIN IMMEDIATE")

    return engine
