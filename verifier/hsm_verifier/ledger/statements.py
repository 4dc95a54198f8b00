"""Knows how to run the ledger's statements at the driver's own speed: each is written once and compiled once.

SQLAlchemy's words say what a statement means, the same for both databases. Building, looking up and wrapping it anew
for each request took thirty times as long as SQLite needs to carry it out, and was half of what an enrolment cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, Executable, bindparam
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
        """Run it and give how many rows it touched (LG1)."""
        cursor = self._run(tx, values)
        touched: int = cursor.rowcount
        cursor.close()
        return touched

    def row(self, tx: Connection, **values: Any) -> tuple[Any, ...] | None:
        """Run it and give the first row, None when there is none."""
        cursor = self._run(tx, values)
        found: tuple[Any, ...] | None = cursor.fetchone()
        cursor.close()
        return found

    def _run(self, tx: Connection, values: dict[str, Any]) -> Any:
        compiled = self._compiled.get(tx.dialect.name) or self._compile(tx)
        cursor = tx.connection.cursor()
        cursor.execute(compiled.text, compiled.parameters(values))
        return cursor

    def _compile(self, tx: Connection) -> _Compiled:
        compiled: Any = self._make(tx).compile(dialect=tx.dialect)  # type: ignore[attr-defined]  # every statement has it
        order = tuple(compiled.positiontup) if compiled.positional else None
        constants = {name: value for name, value in compiled.params.items() if not name.startswith(_GIVEN)}
        made = self._compiled[tx.dialect.name] = _Compiled(text=str(compiled), constants=constants, order=order)
        return made
