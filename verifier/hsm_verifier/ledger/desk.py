"""Knows what an operator may do to the ledger: grant, withdraw, revoke, list. The caller writes each into the audit."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, insert, select, update

from hsm_verifier.ledger import gate
from hsm_verifier.ledger.rows import lock
from hsm_verifier.ledger.schema import db_now, gates, grants, instances, slots
from hsm_verifier.ledger.store import Store

MAX_GRANT = 24 * 3600.0  # O6
OVERDUE = 7 * 86400.0  # O1: TAKEN does not expire, it is reported


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotLine:
    """One slot as `ledger list` shows it; times in Unix seconds, `overdue` when TAKEN for more than 7 days."""

    instance_id: str
    serial: int
    state: str
    group: str
    level: str
    owner: str
    taken_at: float
    confirmed_at: float | None
    result: str | None
    code: str | None
    overdue: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GateLine:
    """One release gate row."""

    pin_id: str
    members: str
    state: str
    trial: str | None
    tries: int


def make_grant(store: Store, instance_id: str, *, count: int, seconds: float, reason: str, owner: str | None) -> float:
    """Write a grant down; gives when it ends (Unix seconds of the database). Raises ValueError beyond O6's bounds."""
    if not 1 <= count <= 100 or not 0 < seconds <= MAX_GRANT or not reason:  # noqa: PLR2004
        raise ValueError("a grant wants a count of 1 to 100, at most 24 h, and a reason")
    with store.deciding() as tx:
        made = tx.execute(
            insert(grants)
            .values(
                instance_id=instance_id,
                remaining=count,
                until=db_now() + seconds,
                reason=reason,
                owner=owner,
                made_at=db_now(),
            )
            .returning(grants.c.until)
        )
        return float(made.scalar_one())


def open_grants(store: Store, instance_id: str) -> int:
    """Give how many of an instance's grants may still be used."""
    found = select(func.count()).select_from(grants).where(*_usable(instance_id))
    with store.reading() as tx:
        return int(tx.execute(found).scalar_one())


def withdraw(store: Store, instance_id: str) -> int:
    """End all of an instance's grants that may still be used. Gives how many that was; what was given stays given."""
    with store.deciding() as tx:
        return tx.execute(update(grants).where(*_usable(instance_id)).values(until=db_now())).rowcount


def _usable(instance_id: str) -> tuple[ColumnElement[bool], ...]:
    return grants.c.instance_id == instance_id, grants.c.remaining > 0, grants.c.until > db_now()


def revoke(store: Store, instance_id: str) -> int:
    """End an instance: all its slots become REVOKED and no later serial is given. Gives how many slots that was."""
    with store.deciding() as tx:
        lock(tx, instance_id)
        return tx.execute(
            update(slots).where(slots.c.instance_id == instance_id, slots.c.state != "REVOKED").values(state="REVOKED")
        ).rowcount


def list_slots(store: Store) -> tuple[SlotLine, ...]:
    """Give every slot, newest first."""
    found = (
        select(slots, instances.c.owner, (db_now() - slots.c.taken_at).label("age"))
        .join(instances, instances.c.instance_id == slots.c.instance_id)
        .order_by(slots.c.taken_at.desc())
    )
    with store.reading() as tx:
        rows = tx.execute(found).mappings().all()
    return tuple(
        SlotLine(
            instance_id=row["instance_id"],
            serial=row["serial"],
            state=row["state"],
            group=row["grp"],
            level=row["level"],
            owner=row["owner"],
            taken_at=row["taken_at"],
            confirmed_at=row["confirmed_at"],
            result=row["result"],
            code=row["code"],
            overdue=row["state"] == "TAKEN" and row["age"] > OVERDUE,
        )
        for row in rows
    )


def list_gates(store: Store) -> tuple[GateLine, ...]:
    """Give every release gate row."""
    found = select(gates.c.pin_id, gates.c.members, gates.c.state, gates.c.trial, gates.c.tries)
    with store.reading() as tx:
        return tuple(GateLine(**row) for row in tx.execute(found).mappings().all())


def resume_gate(store: Store, pin_id: str) -> int:
    """V13: end HALTED for a PIN. Gives how many rows that was."""
    with store.deciding() as tx:
        return gate.resume(tx, pin_id)


def as_json(lines: tuple[SlotLine, ...] | tuple[GateLine, ...]) -> str:
    """Give lines as JSON for scripts."""
    return json.dumps([{name: getattr(line, name) for name in type(line).__slots__} for line in lines])
