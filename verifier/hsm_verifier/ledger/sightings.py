"""Remembers instances that are not served yet: since when AWS does not show them, and that they waited at the gate."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, case, delete, func, select, update

from hsm_verifier.ledger.schema import db_now, sightings
from hsm_verifier.ledger.statements import Statement, given
from hsm_verifier.ledger.store import Store, insert_or_nothing

VISIBLE_WITHIN = 600.0  # V9: seconds from the first valid V8 in which "not found" means "not yet"
PASS_KEPT = 14 * 86400.0
"""How long a first pass keeps a start-up window open: longer than a weekend with an HSM down, not for ever."""

_THIS = sightings.c.instance_id == given("instance")
_SEE = Statement(lambda tx: insert_or_nothing(tx, sightings).values(instance_id=given("instance"), first_seen=db_now()))
_AGE = Statement(lambda _: select(db_now() - sightings.c.first_seen).where(_THIS))
_SAME = sightings.c.held_owner == given("owner")
_HOLD = Statement(
    lambda _: (
        update(sightings)
        .where(_THIS)
        .values(
            first_pass=case((_SAME, func.coalesce(sightings.c.first_pass, db_now())), else_=db_now()),
            held_owner=given("owner"),
            held_group=given("group"),
        )
    )
)
_FORGET = Statement(lambda _: delete(sightings).where(_THIS))
_WAITS = Statement(
    lambda _: select(sightings.c.held_group, sightings.c.first_pass).where(
        _THIS, _SAME, sightings.c.first_pass > db_now() - PASS_KEPT
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """An instance whose key waits at the gate (V13): for which group, and since when (database's Unix seconds)."""

    group: str
    since: float


def unseen_for(store: Store, instance_id: str) -> float:
    """V9: note that AWS vouched for an instance it does not show; gives for how many seconds that has been so."""
    with store.deciding() as tx:
        _SEE.count(tx, instance=instance_id)
        found = _AGE.row(tx, instance=instance_id)
    return 0.0 if found is None else float(found[0])


def note_hold(tx: Connection, instance_id: str, owner: str, group: str) -> None:
    """V13: this key of this instance passed V1 to V12 and waits; the first time counts for its windows (V12)."""
    _SEE.count(tx, instance=instance_id)
    _HOLD.count(tx, instance=instance_id, owner=owner, group=group)


def forget_hold(tx: Connection, instance_id: str) -> None:
    """Drop the notes of an instance that is being served."""
    _FORGET.count(tx, instance=instance_id)


def waits(tx: Connection, instance_id: str, owner: str) -> Waits | None:
    """Tell whether this key of this instance passed V1 to V12 before and waits at the gate since."""
    found = _WAITS.row(tx, instance=instance_id, owner=owner)
    return None if found is None else Waits(group=str(found[0]), since=float(found[1]))
