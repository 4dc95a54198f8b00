"""Knows how to look an instance up before anything is decided: by reading alone (V6, V7, O4)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import exists, select

from hsm_verifier.ledger import gate
from hsm_verifier.ledger.gate import GateKey
from hsm_verifier.ledger.schema import instances, slots
from hsm_verifier.ledger.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An instance that was served before. `have_confirmed` is about the serial the request says it has."""

    owner: str
    group: str
    pending_time: float | None
    have_confirmed: bool


def look_up(store: Store, instance_id: str, have: int | None) -> Known | None:
    """Give what the ledger knows of an instance, None when it was never served."""
    confirmed = exists(
        select(slots.c.serial).where(
            slots.c.instance_id == instance_id, slots.c.serial == have, slots.c.state == "CONFIRMED"
        )
    )
    found = select(instances.c.owner, instances.c.grp, instances.c.pending_time, confirmed).where(
        instances.c.instance_id == instance_id
    )
    with store.reading() as tx:
        row = tx.execute(found).first()
    if row is None:
        return None
    return Known(owner=row[0], group=row[1], pending_time=row[2], have_confirmed=bool(row[3]) and have is not None)


def gate_closed(store: Store, key: GateKey, instance_id: str) -> bool:
    """V7: tell whether a request that was held before would only be held again."""
    with store.reading() as tx:
        return gate.still_closed(tx, key, instance_id)
