"""Knows the ledger's database as a whole: whose it is, its mode, and transactions that decide or only read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Connection, Table, insert, inspect, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hsm_verifier.ledger.engines import READING, LedgerError, open_engine, parse_url
from hsm_verifier.ledger.schema import db_now, meta, metadata
from hsm_verifier.ledger.shared import Shared
from hsm_verifier.ledger.writers import Writers
from hsm_verifier.refusal import Refusal
from hsm_verifier.visible import visible
from hsm_verifier.witness import Witness

__all__ = ["LedgerError", "Store", "fingerprint", "insert_or_nothing", "sqlite_url"]

SCHEMA = "1"


class Store:
    """One database for one audience and one nonce key (LG3).

    `newest` is the last slot this process saw committed, `newest_seen` when that was (time.monotonic()).
    """

    def __init__(self, url: str, *, password: str = "", pool: int = 8) -> None:
        """Connect lazily. `url` is sqlite:///… or postgresql://… without a password. Raises LedgerError."""
        self.url = parse_url(url)
        self.engine = open_engine(self.url, password=password, pool=pool)
        self.newest: Witness | None = None
        self.newest_seen = 0.0
        # SQLite has one writer; waiting here is fair and silent, its own busy handler sleeps and may give up.
        self._writers: Writers | contextlib.nullcontext[None] = (
            Writers(self.url.database or "") if self.engine.dialect.name == "sqlite" else contextlib.nullcontext()
        )
        self._readers = self.engine.execution_options(**{READING: True})
        self._mine = threading.local()  # `shared`: what this thread's decisions have in common, see `together`

    def create(self, *, audience: str, nonce_key: bytes) -> None:
        """Make the tables and write down whose ledger this is. Raises LedgerError when it is someone's already."""
        if self.url.database and self.engine.dialect.name == "sqlite":
            os.close(os.open(self.url.database, os.O_CREAT | os.O_RDWR, 0o600))
        facts = {"audience": audience, "nonce_key": fingerprint(nonce_key), "mode": "open", "opened": "0"}
        try:
            metadata.create_all(self.engine)
            with self.deciding() as tx:
                if tx.execute(insert_or_nothing(tx, meta).values(name="schema", value=SCHEMA)).rowcount != 1:
                    raise LedgerError("this database holds a ledger already")
                tx.execute(insert(meta), [{"name": name, "value": value} for name, value in facts.items()])
        except SQLAlchemyError as error:
            raise LedgerError(f"the ledger cannot be made: {cause(error)}") from None

    def prove_ours(self, *, audience: str, nonce_key: bytes) -> None:
        """LG3: raise LedgerError unless this ledger is of this audience, this nonce key and this schema."""
        wanted = {"schema": SCHEMA, "audience": audience, "nonce_key": fingerprint(nonce_key)}
        try:
            if not inspect(self.engine).has_table("meta"):
                raise LedgerError("there is no ledger in this database; run `hsm-verifier ledger create`")
            with self._readers.begin() as tx:
                found = {row[0]: row[1] for row in tx.execute(select(meta.c.name, meta.c.value))}
        except SQLAlchemyError as error:
            raise LedgerError(f"the ledger cannot be opened: {cause(error)}") from None
        for name, value in wanted.items():
            if found.get(name) != value:
                raise LedgerError(f"this ledger is another's: {name} differs")

    def mode(self) -> str:
        """Give "open" or "operator" (LG5)."""
        return self._fact("mode")

    def opened_at(self) -> float:
        """Give when the ledger was last opened, or told to be an older copy; what was seen before has been judged.

        In the database's Unix seconds.
        """
        return float(self._fact("opened"))

    def set_mode(self, mode: str) -> None:
        """Switch between "open" and "operator" (LG5)."""
        with self.deciding() as tx:
            tx.execute(update(meta).where(meta.c.name == "mode").values(value=mode))
            if mode == "open":
                judge(tx)

    def _fact(self, name: str) -> str:
        with self.reading() as tx:
            return str(tx.execute(select(meta.c.value).where(meta.c.name == name)).scalar_one())

    @contextlib.contextmanager
    def deciding(self) -> Iterator[Connection]:
        """Give a transaction that may write; COMMIT at the end of the block, ROLLBACK on any exception.

        Raises Refusal `busy` when the database is away, or a row is held too long: nothing was decided, ask again.
        Within `together` the COMMIT is at that one's end.
        """
        shared: Shared | None = getattr(self._mine, "shared", None)
        with _or_busy():
            if shared is not None:
                with shared.part() as connection:
                    yield connection
                return
            with self._writers, self.engine.begin() as connection:
                yield connection

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Give all of this thread's decisions within the block one COMMIT at its end: group commit.

        Each is still whole or not at all: it has a SAVEPOINT of its own. Raises Refusal `busy` when the database failed
        in any of them, or at the COMMIT: then none of them was decided.
        """
        with _or_busy(), self._writers, self.engine.begin() as connection:
            shared = self._mine.shared = Shared(connection)
            try:
                yield
            finally:
                self._mine.shared = None
            shared.check()
        shared.committed()

    def when_committed(self, action: Callable[[], None]) -> None:
        """Do something that is only true once what this thread decided last is committed."""
        shared: Shared | None = getattr(self._mine, "shared", None)
        if shared is None:
            action()
        else:
            shared.afterwards.append(action)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a transaction that only reads and never waits for writers. Raises Refusal `busy` as above."""
        with _or_busy(), self._readers.begin() as connection:
            yield connection

    def remember(self, instance_id: str, serial: int, owner: str) -> None:
        """Keep a slot that was seen committed: a ledger without it is an older copy (LG5)."""
        self.newest = Witness(instance_id=instance_id, serial=serial, owner=owner)
        self.newest_seen = time.monotonic()

    def forget(self, witness: Witness | None) -> None:
        """Drop it unless there is a newer one: this ledger is that older copy, and an operator knows."""
        if self.newest is witness:
            self.newest = None

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()
        if isinstance(self._writers, Writers):
            self._writers.close()


@contextlib.contextmanager
def _or_busy() -> Iterator[None]:
    try:
        yield
    except (IntegrityError, DataError, ProgrammingError, NotSupportedError):
        raise  # the statement is wrong, not the database: a bug
    except (DBAPIError, PoolTimeout) as error:
        raise Refusal("busy", "V15 ledger_unavailable", status=503, alarm=True) from error


def judge(tx: Connection) -> None:
    """Note that whatever was seen committed until now and is not here is known to be lost (LG5)."""
    now = float(tx.execute(select(db_now())).scalar_one())
    tx.execute(update(meta).where(meta.c.name == "opened").values(value=str(now)))


def insert_or_nothing(tx: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Give `INSERT … ON CONFLICT DO NOTHING`, whose row count tells who was first."""
    if tx.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def cause(error: SQLAlchemyError) -> str:
    """Give a database's error in its driver's words, which name hosts, users and files, and no password."""
    return visible(" ".join(str(getattr(error, "orig", None) or type(error).__name__).split()))


def fingerprint(key: bytes) -> str:
    """Give what may be stored of a secret key to recognise it."""
    return hashlib.sha256(b"hsm-enrol/1 nonce key\x00" + key).hexdigest()[:32]


def sqlite_url(path: Path) -> str:
    """Give the URL of a ledger file."""
    return f"sqlite:///{path.absolute()}"
