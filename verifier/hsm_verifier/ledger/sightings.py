"""Remembers instances that are not served yet: since when AWS does not show them, and that they waited at the gate."""

from __future__ import annotations

from sqlalchemy import Connection, case, delete, func, select, update

from hsm_verifier.ledger.schema import db_now, sightings
from hsm_verifier.ledger.store import Store, insert_or_nothing

VISIBLE_WITHIN = 600.0  # V9: seconds from the first valid V8 in which "not found" means "not yet"
PASS_KEPT = 14 * 86400.0
"""How long a first pass keeps a start-up window open: longer than a weekend with an HSM down, not for ever."""


def unseen_for(store: Store, instance_id: str) -> float:
    """V9: note that AWS vouched for an instance it does not show; gives for how many seconds that has been so."""
    with store.deciding() as tx:
        tx.execute(insert_or_nothing(tx, sightings).values(instance_id=instance_id, first_seen=db_now()))
        age = select(db_now() - sightings.c.first_seen).where(sightings.c.instance_id == instance_id)
        return float(tx.execute(age).scalar_one())


def note_hold(tx: Connection, instance_id: str, owner: str, group: str) -> None:
    """V13: this key of this instance passed V1 to V12 and waits; the first time counts for its windows (V12)."""
    tx.execute(insert_or_nothing(tx, sightings).values(instance_id=instance_id, first_seen=db_now()))
    same = sightings.c.held_owner == owner
    tx.execute(
        update(sightings)
        .where(sightings.c.instance_id == instance_id)
        .values(
            first_pass=case((same, func.coalesce(sightings.c.first_pass, db_now())), else_=db_now()),
            held_owner=owner,
            held_group=group,
        )
    )


def forget_hold(tx: Connection, instance_id: str) -> None:
    """Drop the notes of an instance that is being served."""
    tx.execute(delete(sightings).where(sightings.c.instance_id == instance_id))


def first_pass(store: Store, instance_id: str, owner: str) -> float | None:
    """Give when this key of this instance first passed V1 to V12 (database's Unix seconds), if it waits at the gate."""
    found = select(sightings.c.first_pass).where(
        sightings.c.instance_id == instance_id,
        sightings.c.held_owner == owner,
        sightings.c.first_pass > db_now() - PASS_KEPT,
    )
    with store.reading() as tx:
        value = tx.execute(found).scalar_one_or_none()
    return None if value is None else float(value)


def held_group(store: Store, instance_id: str, owner: str) -> str | None:
    """V7: give the group for which this key of this instance waits, or None."""
    found = select(sightings.c.held_group).where(
        sightings.c.instance_id == instance_id,
        sightings.c.held_owner == owner,
        sightings.c.first_pass > db_now() - PASS_KEPT,
    )
    with store.reading() as tx:
        value = tx.execute(found).scalar_one_or_none()
    return None if value is None else str(value)
