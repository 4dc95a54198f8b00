"""Knows how decisions reach the ledger while the loop goes on: how depends on which database it is.

SQLite has one writer and one flush a COMMIT: what many ask for at the same time is written by one thread in one
transaction. Reading is a look into a file and waits for nobody: it is done in place. PostgreSQL is far away and has
many writers, whose flushes it groups by itself: each call has a thread, and a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from hsm_verifier.aside import Aside, Failed, Together, attempt, in_place
from hsm_verifier.ledger.store import Store
from hsm_verifier.refusal import Refusal

T = TypeVar("T")
Work = Callable[[Store], T]


class Clerk(Protocol):
    """Carries out what decisions want of the ledger."""

    def read(self, work: Work[T], /) -> T:
        """Give what `work`, which only reads, gives; or raise what it raises."""

    def write(self, work: Work[T], /) -> T:
        """Give what `work` gives, or raise what it raises; what it decided is committed by then."""

    def close(self) -> None:
        """Wait for what was begun."""


def open_clerk(store: Store, aside: Aside) -> Clerk:
    """Give the clerk for this database; `aside` is where it may keep somebody waiting."""
    if aside is in_place:
        return InPlace(store)
    return OneWriter(store) if store.engine.dialect.name == "sqlite" else ManyWriters(store, aside)


class InPlace:
    """Does it here and now."""

    def __init__(self, store: Store) -> None:
        """Take the ledger."""
        self._store = store

    def read(self, work: Work[T], /) -> T:
        """Read."""
        return work(self._store)

    def write(self, work: Work[T], /) -> T:
        """Write."""
        return work(self._store)

    def close(self) -> None:
        """Nothing was begun."""


class OneWriter(InPlace):
    """For SQLite: reads in place, writes together."""

    def __init__(self, store: Store) -> None:
        """Take the ledger."""
        super().__init__(store)
        self._writing: Together[Work[Any], Any] = Together(self._carry_out, name="ledger")

    def write(self, work: Work[T], /) -> T:
        """Write with those who ask meanwhile."""
        return cast("T", self._writing.ask(work))

    def close(self) -> None:
        """Wait for what was begun."""
        self._writing.close()

    def _carry_out(self, works: list[Work[Any]]) -> list[Any | Failed]:
        try:
            with self._store.together():
                return [attempt(partial(work, self._store)) for work in works]
        except Refusal as refusal:  # the database failed: nothing of all this was decided
            return [Failed(refusal)] * len(works)


class ManyWriters(InPlace):
    """For PostgreSQL: each call in a thread, with a transaction of its own."""

    def __init__(self, store: Store, aside: Aside) -> None:
        """Take the ledger and threads."""
        super().__init__(store)
        self._aside = aside

    def read(self, work: Work[T], /) -> T:
        """Read in a thread."""
        return self._aside(lambda: work(self._store))

    def write(self, work: Work[T], /) -> T:
        """Write in a thread."""
        return self._aside(lambda: work(self._store))
