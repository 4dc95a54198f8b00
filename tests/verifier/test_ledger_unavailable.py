"""A database that fails in the middle of a decision: the asker hears 503 and when to ask again, nothing was decided."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from hsm_verifier.ledger import desk, engines, rows
from hsm_verifier.ledger.schema import owners, slots
from hsm_verifier.ledger.statements import Statement, given
from hsm_verifier.ledger.store import Store
from hsm_verifier.refusal import Refusal
from hsm_verifier.service import Service
from tests.verifier.party import INSTANCE, Party

on_both = pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)
on_postgresql = pytest.mark.parametrize("store", ["postgresql"], indirect=True)
UNAVAILABLE = "V15 ledger_unavailable"


def enrol(party: Party) -> tuple[int, object, object]:
    """Ask once: what is heard (status, Retry-After) and what the audit says of it."""
    reply = Service(party.world, party.audit).enrol(party.asker().ask(), "192.0.2.7")
    last = (party.folder / "audit.jsonl").read_text().splitlines()[-1]
    return reply.status, reply.retry_after is not None, UNAVAILABLE in last and '"alarm":true' in last


def is_empty(store: Store) -> bool:
    with store.reading() as tx:
        return tx.execute(select(owners)).first() is None and tx.execute(select(slots)).first() is None


def make_read_only(store: Store) -> Callable[[], None]:
    """What a full disk, a remounted file system or a standby do: begin works, and the first write does not."""
    what = (
        "PRAGMA query_only = 1" if store.engine.dialect.name == "sqlite" else "SET default_transaction_read_only = on"
    )

    def connected(dbapi: sqlite3.Connection, _record: object) -> None:
        dbapi.execute(what)
        dbapi.commit()

    store.engine.dispose()
    event.listen(store.engine, "connect", connected)

    def end() -> None:
        event.remove(store.engine, "connect", connected)
        store.engine.dispose()

    return end


@on_both
def test_a_ledger_that_became_read_only_is_busy(store: Store, party: Party, published: int) -> None:
    end = make_read_only(store)
    assert enrol(party) == (503, True, True)
    end()
    assert is_empty(store)
    assert enrol(party)[0] == 200
    assert published


@on_both
def test_an_operators_command_hears_the_same(store: Store) -> None:
    end = make_read_only(store)
    with pytest.raises(Refusal, match=UNAVAILABLE):
        desk.revoke(store, INSTANCE)
    end()
    assert desk.revoke(store, INSTANCE) == 0


def test_a_write_lock_of_another_process_is_busy_also_where_only_reading_was_meant(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_MS", 50)
    ours = Store(store.url.render_as_string())
    other = sqlite3.connect(str(store.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Refusal, match=UNAVAILABLE), ours.deciding():
        raise AssertionError("the other one holds the lock")
    with pytest.raises(Refusal, match=UNAVAILABLE) as caught, ours.reading() as tx:
        rows.lock(tx, INSTANCE)
    assert isinstance(caught.value.__cause__, DBAPIError)
    assert str(caught.value.__cause__.orig) == "database is locked"
    other.execute("ROLLBACK")
    with ours.deciding() as tx:
        assert not rows.lock(tx, INSTANCE)
    other.close()
    ours.close()


def test_a_file_that_is_damaged_is_busy(store: Store, party: Party, published: int) -> None:
    store.close()
    path = party.folder / "ledger.sqlite"
    data = bytearray(path.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    assert enrol(party) == (503, True, True)
    assert published


@on_postgresql
def test_a_connection_that_is_ended_in_the_middle_of_a_statement_is_busy(
    store: Store, party: Party, published: int
) -> None:
    other = Store(store.url.render_as_string())
    with ThreadPoolExecutor(1) as pool:
        with other.deciding() as tx:
            tx.execute(text("LOCK TABLE owners IN EXCLUSIVE MODE"))
            asked = pool.submit(enrol, party)
            end_whoever_waits(other)
            assert asked.result(10) == (503, True, True)
        other.close()
    assert is_empty(store)
    assert enrol(party)[0] == 200
    assert published


def end_whoever_waits(store: Store) -> None:
    tick = threading.Event()
    ended = text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
    for _ in range(1000):
        with store.reading() as tx:
            if tx.execute(ended).first() is not None:
                return
        tick.wait(0.01)
    raise AssertionError("nobody waited")


@on_postgresql
def test_a_connection_that_is_ended_between_two_statements_is_busy_and_let_go(store: Store) -> None:
    with pytest.raises(Refusal, match=UNAVAILABLE) as caught:
        lock_twice(store, lambda: end_all_others(store))
    assert isinstance(caught.value.__cause__, DBAPIError)
    assert caught.value.__cause__.connection_invalidated
    with store.deciding() as tx:
        assert not rows.lock(tx, INSTANCE)


@on_postgresql
def test_one_that_is_busy_is_enough_to_find_all_connections_dead(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "FRESH", 3600.0)
    with contextlib.ExitStack() as at_once:
        for _ in range(4):
            at_once.enter_context(store.deciding())
    other = Store(store.url.render_as_string())
    end_all_others(other)
    other.close()
    heard: list[int | str] = []
    for _ in range(5):
        try:
            heard.append(desk.revoke(store, INSTANCE))
        except Refusal as refusal:
            heard.append(refusal.reason)
    assert heard == ["busy", 0, 0, 0, 0]


def lock_twice(store: Store, between: Callable[[], None]) -> None:
    with store.deciding() as tx:
        rows.lock(tx, INSTANCE)
        between()
        rows.lock(tx, INSTANCE)


def end_all_others(store: Store) -> None:
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
    with store.reading() as tx:
        tx.execute(text(ended + "pg_backend_pid()"))


@on_postgresql
def test_a_transaction_that_cannot_be_put_in_a_row_is_busy(store: Store) -> None:
    with store.deciding() as tx:
        tx.execute(owners.insert().values(thumbprint="a", instance_id=INSTANCE, since=0.0))
    with pytest.raises(Refusal, match=UNAVAILABLE) as caught:
        change_under(store)
    assert type(getattr(caught.value.__cause__, "orig", None)).__name__ == "SerializationFailure"


def change_under(store: Store) -> None:
    keep = Statement(lambda _: owners.update().where(owners.c.thumbprint == given("owner")).values(since=1.0))
    with store.deciding() as tx:
        tx.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        tx.execute(select(owners)).all()
        with store.deciding() as other:
            keep.count(other, owner="a")
        keep.count(tx, owner="a")


@on_both
def test_a_wrong_statement_is_a_bug_and_not_told_as_a_ledger_that_is_away(store: Store) -> None:
    twice = Statement(lambda _: owners.insert().values(thumbprint="a", instance_id=given("instance"), since=0.0))
    with store.deciding() as tx:
        assert twice.count(tx, instance="CANARY-1") == 1
    with pytest.raises(IntegrityError) as caught, store.deciding() as tx:
        twice.count(tx, instance="CANARY-2")
    assert "CANARY-2" not in str(caught.value.params)
