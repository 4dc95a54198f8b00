"""Knows how to look an instance up before anything is decided: by reading alone (V6, V7, O4)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import exists, select

from hsm_verifier.ledger import gate
from hsm_verifier.ledger.gate import GateKey
from hsm_verifier.ledger.grant_rows import is_waiting
from hsm_verifier.ledger.schema import instances, slots
from hsm_verifier.ledger.sightings import Waits, waits
from hsm_verifier.ledger.statements import Statement, given
from hsm_verifier.ledger.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An instance that was served before. `have_confirmed` is about the serial the request says it has."""

    owner: str
    group: str
    pending_time: float | None
    have_confirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an asker stands before anything is decided: `known` when it was served, `waits` when its key was held."""

    known: Known | None
    waits: Waits | None


_KNOWN = Statement(
    lambda _: select(
        instances.c.owner,
        instances.c.grp,
        instances.c.pending_time,
        exists(
            select(slots.c.serial).where(
                slots.c.instance_id == given("instance"),
                slots.c.serial == given("have"),
                slots.c.state == "CONFIRMED",
            )
        ),
    ).where(instances.c.instance_id == given("instance"))
)


def look_up(store: Store, instance_id: str, owner: str, have: int | None) -> Standing:
    """Give what the ledger knows of an instance; `owner` is the asking key's thumbprint."""
    with store.reading() as tx:
        row = _KNOWN.row(tx, instance=instance_id, have=have)
        if row is None:
            return Standing(known=None, waits=waits(tx, instance_id, owner))
    known = Known(owner=row[0], group=row[1], pending_time=row[2], have_confirmed=bool(row[3]) and have is not None)
    return Standing(known=known, waits=None)


def grant_waits(store: Store, instance_id: str, owner: str, which: str) -> bool:
    """O6: tell whether a grant waits for this key; `which` of them count is `Group.grants`."""
    with store.reading() as tx:
        return is_waiting(tx, instance_id, owner, which)


def gate_closed(store: Store, key: GateKey, instance_id: str) -> bool:
    """V7: tell whether a request that was held before would only be held again."""
    with store.reading() as tx:
        return gate.still_closed(tx, key, instance_id)
