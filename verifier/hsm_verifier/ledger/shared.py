"""Knows how decisions share one transaction and stay apart: each has a SAVEPOINT, all have one COMMIT.

A database that fails in the middle may have ended the whole transaction by itself (SQLite does, when its disk is full
or broken), and a SAVEPOINT after that would begin another one. So after any failure nothing more is begun and nothing
is committed.
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
        try:
            run_text(self._connection, "SAVEPOINT decision")
            try:
                yield self._connection
            except BaseException:
                run_text(self._connection, "ROLLBACK TO decision")
                raise
            finally:
                run_text(self._connection, "RELEASE decision")
        except IntegrityError:
            raise  # the statement's fault; the database is well
        except DBAPIError:
            self._failed = True
            raise

    def check(self) -> None:
        """Raise Refusal `busy` once the database has failed in any part."""
        if self._failed:
            raise Refusal("busy", "V15 ledger_unavailable", status=503, alarm=True)

    def committed(self) -> None:
        """Do what waited for it."""
        for action in self.afterwards:
            action()
