"""Knows how decisions share one transaction and stay apart: each has a SAVEPOINT, all have one COMMIT.

A database that fails in the middle may have ended the whole transaction by itself (SQLite does, when its disk is full
or broken or memory is short), and a SAVEPOINT after that would begin another one. So after any failure nothing more is
begun and nothing is committed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from hsm_verifier.ledger.statements import run_text
from hsm_verifier.refusal import Refusal


class Shared:
    """One transaction of several decisions. `afterwards` is done once it is committed."""

    def __init__(self, connection: Connection) -> None:
        """Take a connection whose transaction has begun."""
        self._connection = connection
        self._failed = False
        self.afterwards: list[Callable[[], None]] = []

    @contextlib.contextmanager
    def part(self) -> Iterator[Connection]:
        """Give one decision's part: kept at the end of the block, undone on any exception."""
        self.check()
        self._failed = True  # until this part is known to have ended well: not every failure is a DBAPIError
        run_text(self._connection, "SAVEPOINT decision")
        try:
            yield self._connection
        except BaseException as error:
            run_text(self._connection, "ROLLBACK TO decision")
            run_text(self._connection, "RELEASE decision")
            # An IntegrityError is the statement's fault; the database is well.
            self._failed = isinstance(error, DBAPIError) and not isinstance(error, IntegrityError)
            raise
        run_text(self._connection, "RELEASE decision")
        self._failed = False

    def check(self) -> None:
        """Raise Refusal `busy` once the database has failed in any part."""
        if self._failed:
            raise Refusal("busy", "V15 ledger_unavailable", status=503, alarm=True)

    def committed(self) -> None:
        """Do what waited for it."""
        for action in self.afterwards:
            action()
