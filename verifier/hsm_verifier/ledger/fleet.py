"""Knows how to look at the whole fleet without changing it: one line an instance, counted, searched, page by page.

An instance stands where its newest slot stands, except that it is FREE when its group has a newer bundle that it has
not fetched yet (O1: the slot of the current serial is absent).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select

from hsm_verifier.ledger.desk import OVERDUE
from hsm_verifier.ledger.schema import db_now, grants, instances, sightings, slots
from hsm_verifier.ledger.store import Store

STATES = ("FREE", "TAKEN", "CONFIRMED", "REVOKED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a look is restricted to. `words` is part of an instance id, its group or its last code; `ids` add to it."""

    words: str = ""
    ids: tuple[str, ...] = ()
    state: str = ""
    group: str = ""
    overdue: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One instance and its newest slot; times in Unix seconds."""

    instance_id: str
    state: str
    group: str
    serial: int
    level: str
    owner: str
    taken_at: float
    confirmed_at: float | None
    result: str | None
    code: str | None
    overdue: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantLine:
    """One grant; `over` by the database's clock (LG2)."""

    remaining: int
    until: float
    over: bool
    reason: str
    owner: str | None
    made_at: float


class Fleet:
    """One look: `current` is each group's newest serial, `now` Unix seconds."""

    def __init__(self, store: Store, current: Mapping[str, int], now: float) -> None:
        """Ask nothing yet."""
        self._store = store
        self._overdue = and_(slots.c.state == "TAKEN", slots.c.taken_at < now - OVERDUE)
        behind = [
            (and_(instances.c.grp == group, slots.c.serial < serial), "FREE") for group, serial in current.items()
        ]
        self._state: ColumnElement[str] = case(
            (slots.c.state == "REVOKED", "REVOKED"), (self._overdue, "TAKEN"), *behind, else_=slots.c.state
        )

    def counts(self) -> dict[str, int]:
        """Give how many instances stand where."""
        asked = self._from(select(self._state.label("state"), func.count())).group_by(self._state)
        with self._store.reading() as tx:
            found = {str(row[0]): int(row[1]) for row in tx.execute(asked)}
        return {state: found.get(state, 0) for state in STATES}

    def overdue(self) -> int:
        """Give how many have been TAKEN for more than a week without a word."""
        return self.count(Wanted(overdue=True))

    def count(self, wanted: Wanted) -> int:
        """Give how many instances a look would show."""
        asked = self._restricted(select(func.count()), wanted)
        with self._store.reading() as tx:
            return int(tx.execute(asked).scalar_one())

    def lines(self, wanted: Wanted, *, limit: int, offset: int = 0) -> tuple[Line, ...]:
        """Give one page, the latest taken first."""
        columns = (
            slots.c.instance_id,
            self._state.label("state"),
            instances.c.grp.label("group"),
            slots.c.serial,
            slots.c.level,
            instances.c.owner,
            slots.c.taken_at,
            slots.c.confirmed_at,
            slots.c.result,
            slots.c.code,
            case((self._overdue, 1), else_=0).label("overdue"),
        )
        asked = self._restricted(select(*columns), wanted)
        asked = asked.order_by(slots.c.taken_at.desc(), slots.c.instance_id).limit(limit).offset(offset)
        with self._store.reading() as tx:
            rows = tx.execute(asked).mappings().all()
        return tuple(Line(**{**row, "overdue": bool(row["overdue"])}) for row in rows)

    def slots_of(self, instance_id: str) -> tuple[Line, ...]:
        """Give every slot of one instance, newest serial first, as the ledger has them."""
        asked = (
            select(
                slots.c.instance_id,
                slots.c.state,
                slots.c.grp.label("group"),
                slots.c.serial,
                slots.c.level,
                instances.c.owner,
                slots.c.taken_at,
                slots.c.confirmed_at,
                slots.c.result,
                slots.c.code,
                case((self._overdue, 1), else_=0).label("overdue"),
            )
            .join(instances, instances.c.instance_id == slots.c.instance_id)
            .where(slots.c.instance_id == instance_id)
            .order_by(slots.c.serial.desc())
        )
        with self._store.reading() as tx:
            rows = tx.execute(asked).mappings().all()
        return tuple(Line(**{**row, "overdue": bool(row["overdue"])}) for row in rows)

    def grants_of(self, instance_id: str) -> tuple[GrantLine, ...]:
        """Give an instance's grants, newest first; used up and ended ones too."""
        over = case((grants.c.until <= db_now(), 1), else_=0).label("over")
        asked = (
            select(grants.c.remaining, grants.c.until, over, grants.c.reason, grants.c.owner, grants.c.made_at)
            .where(grants.c.instance_id == instance_id)
            .order_by(grants.c.made_at.desc())
            .limit(20)
        )
        with self._store.reading() as tx:
            rows = tx.execute(asked).mappings().all()
        return tuple(GrantLine(**{**row, "over": bool(row["over"])}) for row in rows)

    def waits_since(self, instance_id: str) -> float | None:
        """Give since when an instance waits at the release gate or for AWS to show it."""
        asked = select(sightings.c.first_seen).where(sightings.c.instance_id == instance_id)
        with self._store.reading() as tx:
            found = tx.execute(asked).scalar_one_or_none()
        return None if found is None else float(found)

    def taken_since(self, start: float) -> tuple[float, ...]:
        """Give when slots were taken, for a time line."""
        asked = select(slots.c.taken_at).where(slots.c.taken_at >= start)
        with self._store.reading() as tx:
            return tuple(float(one) for one in tx.execute(asked).scalars())

    def _from(self, asked: Any) -> Any:  # a Select keeps its columns' types, which differ from call to call
        newest = (
            select(slots.c.instance_id.label("newest_id"), func.max(slots.c.serial).label("newest_serial"))
            .group_by(slots.c.instance_id)
            .subquery()
        )
        return (
            asked.select_from(slots)
            .join(
                newest,
                and_(newest.c.newest_id == slots.c.instance_id, newest.c.newest_serial == slots.c.serial),
            )
            .join(instances, instances.c.instance_id == slots.c.instance_id)
        )

    def _restricted(self, asked: Any, wanted: Wanted) -> Any:
        asked = self._from(asked)
        if wanted.words:
            asked = asked.where(
                or_(
                    slots.c.instance_id.contains(wanted.words, autoescape=True),
                    instances.c.grp == wanted.words,
                    slots.c.code == wanted.words,
                    slots.c.instance_id.in_(wanted.ids),
                )
            )
        if wanted.state:
            asked = asked.where(self._state == wanted.state)
        if wanted.group:
            asked = asked.where(instances.c.grp == wanted.group)
        if wanted.overdue:
            asked = asked.where(self._overdue)
        return asked
