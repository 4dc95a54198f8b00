"""Group commit when something breaks where nobody expects it: no wrong word to anybody, and nobody waits for ever."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, select

from hsm_enrol.wire.messages import Problem
from hsm_verifier.aside import Failed
from hsm_verifier.audit import Audit, Entry
from hsm_verifier.chain import Head
from hsm_verifier.ledger import shared
from hsm_verifier.ledger.clerk import OneWriter
from hsm_verifier.ledger.desk import make_grant
from hsm_verifier.ledger.schema import db_now, grants, owners
from hsm_verifier.ledger.statements import run_text
from hsm_verifier.ledger.store import Store
from hsm_verifier.scribe import Scribe
from hsm_verifier.service import Service
from hsm_verifier.turns import take_turn
from tests.verifier.party import Party
from tests.verifier.test_group_commit import at_once, no_file_grows


def binds(name: str, *, before: Callable[[], object] = bool) -> Callable[[Store], str]:
    """Give work that writes one row; `before` is done before it begins."""

    def work(store: Store) -> str:
        before()
        with store.deciding() as tx:
            tx.execute(owners.insert().values(thumbprint=name, instance_id="i-1", since=0))
        return name

    return work


def bound(store: Store) -> list[str]:
    with store.reading() as tx:
        return [*tx.execute(select(owners.c.thumbprint).order_by(owners.c.thumbprint)).scalars()]


def carry_out(store: Store, *works: Callable[[Store], object]) -> list[Any]:
    """Have all of this done in one go."""
    clerk = OneWriter(store)
    found = clerk._carry_out([*works])
    clerk.close()
    return found


def test_memory_that_ran_out_while_a_part_was_undone_decides_nothing_for_anybody(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver says MemoryError, no DBAPIError, and SQLite ended the transaction: the next would begin its own."""
    starved: list[bool] = []

    def run(tx: Connection, text: str) -> None:
        if starved:
            raise MemoryError
        run_text(tx, text)

    def starves(store: Store) -> None:
        with store.deciding() as tx:
            tx.exec_driver_sql("ROLLBACK")  # as SQLite does on SQLITE_NOMEM
            starved.append(True)
            raise MemoryError

    monkeypatch.setattr(shared, "run_text", run)
    found = carry_out(store, binds("before"), starves, binds("after", before=starved.clear))
    assert ["V15 ledger_unavailable" in str(one.error) for one in found if isinstance(one, Failed)] == [True] * 3
    assert bound(store) == []
    assert carry_out(store, binds("again")) == ["again"]
    assert bound(store) == ["again"]


def test_a_statement_that_breaks_a_rule_of_the_tables_undoes_its_own_part_only(store: Store) -> None:
    first, second, third = carry_out(store, binds("one"), binds("one"), binds("two"))
    assert (first, third) == ("one", "two")
    assert isinstance(second, Failed)
    assert bound(store) == ["one", "two"]


def test_lg5_an_older_copy_that_several_notice_in_one_go_answers_none_of_them(
    party: Party, store: Store, published: int
) -> None:
    clerk = OneWriter(store)
    service = Service(replace(party.world, clerk=clerk), Scribe(party.audit))
    make_grant(store, "i-0000000000000bbbb", count=1, seconds=3600, reason="test", owner=None)
    store.remember("i-0000000000000aaaa", published, "an owner this copy does not know")

    def asked_together() -> list[int]:
        bodies = [party.asker(f"i-{number:017x}").ask() for number in range(4)]
        works = [partial(service.enrol, one, "192.0.2.7") for one in bodies]

        def until_all_wait(_store: Store) -> None:
            for _ in range(2000):
                if len(clerk._writing._asked) == len(works):
                    return
                time.sleep(0.01)
            raise AssertionError("they never came")

        async def run() -> list[Any]:
            async with asyncio.timeout(30):
                alone = take_turn(lambda: clerk.write(until_all_wait))  # all others are in the next go
                return await asyncio.gather(alone, *(take_turn(one) for one in works))

        return [reply.status for reply in asyncio.run(run())[1:]]

    with no_file_grows():
        assert asked_together() == [503] * 4
    assert (store.mode(), store.newest is None) == ("open", False)  # it could not be written down: noticed again
    assert asked_together() == [503, 409, 409, 409]  # who comes after the one that found it out meets operator mode
    assert (store.mode(), store.newest) == ("operator", None)
    assert asked_together() == [409] * 4
    assert bound(store) == []
    with store.reading() as tx:
        assert tx.execute(select(grants.c.remaining).where(grants.c.until > db_now())).first() is None
    clerk.close()


def test_v15_whatever_keeps_the_audit_line_from_being_written_the_asker_hears_busy_and_nothing_else(
    party: Party, published: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scribe = Scribe(party.audit)
    service, asker = Service(party.world, scribe), party.asker()

    def cannot(_audit: Audit, _entries: list[Entry]) -> list[Head]:
        raise RuntimeError("no disk, no memory, no luck")

    with monkeypatch.context() as patched:
        patched.setattr(Audit, "write_all", cannot)
        (reply,) = at_once(service, [asker.ask()])
    assert (reply.status, Problem.from_bytes(reply.body).reason) == (503, "busy")
    (reply,) = at_once(service, [asker.ask()])
    assert reply.status == 200
    scribe.close()
    assert published
