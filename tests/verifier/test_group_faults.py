"""Group commit when something breaks where nobody expects it: no wrong word to anybody, and nobody waits for ever."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, select

from hsm_verifier.aside import Failed
from hsm_verifier.ledger import shared
from hsm_verifier.ledger.clerk import OneWriter
from hsm_verifier.ledger.schema import owners
from hsm_verifier.ledger.statements import run_text
from hsm_verifier.ledger.store import Store


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
