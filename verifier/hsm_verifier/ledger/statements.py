"""Knows how to run the ledger's statements at the driver's own speed: each is written once and compiled once.

SQLAlchemy's words say what a statement means, the same for both databases. Building, looking up and wrapping it anew
for each request took thirty times as long as SQLite needs to carry it out, and was half of what an enrolment cost.
What the driver raises is told as SQLAlchemy tells it: to the ledger's callers there is one kind of database error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter, methodcaller
from typing import Any

from sqlalchemy import BindParameter, Connection, Executable, bindparam
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

_GIVEN = "given_"  # a parameter must not be called like a column: that would set the column


def given(name: str, kind: TypeEngine[Any] | None = None) -> BindParameter[Any]:
    """Give the place of a value that comes with each run."""
    return bindparam(_GIVEN + name, type_=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    """Text in the driver's own style; `order` is None where parameters have names."""

    text: str
    constants: dict[str, Any]
    order: tuple[str, ...] | None

    def parameters(self, values: dict[str, Any]) -> Any:
        named = self.constants | {_GIVEN + name: value for name, value in values.items()}
        return named if self.order is None else [named[name] for name in self.order]


class Statement:
    """One statement. Values are given by the names in its `given(…)`, all of them, each time.

    `make` is called with a connection, for what differs between dialects.
    """

    def __init__(self, make: Callable[[Connection], Executable]) -> None:
        """Compile when first run."""
        self._make = make
        self._compiled: dict[str, _Compiled] = {}

    def count(self, tx: Connection, **values: Any) -> int:
        """Run it and give how many rows it touched (LG1). Raises sqlalchemy.exc.DBAPIError."""
        touched: int = self._run(tx, values, _ROWCOUNT)
        return touched

    def row(self, tx: Connection, **values: Any) -> tuple[Any, ...] | None:
        """Run it and give the first row, None when there is none. Raises sqlalchemy.exc.DBAPIError."""
        found: tuple[Any, ...] | None = self._run(tx, values, _FIRST)
        return found

    def _run(self, tx: Connection, values: dict[str, Any], read: Callable[[Any], Any]) -> Any:
        compiled = self._compiled.get(tx.dialect.name) or self._compile(tx)
        return _execute(tx, compiled.text, compiled.parameters(values), read)

    def _compile(self, tx: Connection) -> _Compiled:
        compiled: Any = self._make(tx).compile(dialect=tx.dialect)  # type: ignore[attr-defined]  # every statement has it
        order = tuple(compiled.positiontup) if compiled.positional else None
        constants = {name: value for name, value in compiled.params.items() if not name.startswith(_GIVEN)}
        made = self._compiled[tx.dialect.name] = _Compiled(text=str(compiled), constants=constants, order=order)
        return made


def run_text(tx: Connection, text: str) -> None:
    """Run SQL that has neither values nor rows, as it is. Raises sqlalchemy.exc.DBAPIError."""
    _execute(tx, text, (), bool)


def _execute(tx: Connection, text: str, parameters: Any, read: Callable[[Any], Any]) -> Any:
    driver = tx.connection
    try:
        cursor = driver.cursor()
        cursor.execute(text, parameters)
        found = read(cursor)
        cursor.close()
    except tx.dialect.loaded_dbapi.Error as error:
        raise _told(tx, driver, error, text) from error
    return found


_ROWCOUNT = attrgetter("rowcount")
_FIRST = methodcaller("fetchone")


def _told(tx: Connection, driver: Any, error: Exception, text: str) -> BaseException:
    """Give the driver's error as SQLAlchemy would have raised it, without values; a connection that broke is let go."""
    broken = tx.dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]  # a Protocol of what drivers raise
    if broken:
        tx.invalidate(error)
    return DBAPIError.instance(
        text,
        None,
        error,
        tx.dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=broken,
        dialect=tx.dialect,
    )
