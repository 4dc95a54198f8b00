"""Knows who may try a new PIN first (V13): a wrong PIN must not lock a partition because a whole fleet tried it.

One row a (PIN id, member list): UNPROVEN, PROVEN or HALTED. One instance at a time holds the trial, for ten minutes.
Bound on wrong tries over a fleet: two, however many verifiers share the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sqlalchemy import ColumnElement, Connection, and_, case, exists, or_, select, update

from hsm_verifier.ledger.schema import db_now, gates, slots
from hsm_verifier.ledger.store import insert_or_nothing

LEASE = 600.0  # seconds a trial may take
MAX_TRIES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GateKey:
    """What has to be proven once: this PIN on these members."""

    pin_id: str
    members: tuple[str, ...]

    def members_text(self) -> str:
        """Give the member list as the row's key: order is the HA group's and part of it."""
        return ",".join(self.members)


class Entry(Enum):
    """What the gate says to one request."""

    OPEN = "open"
    TRIAL = "trial"
    HELD = "held"
    HALTED = "halted"
    NEWLY_HALTED = "newly_halted"


def _row(key: GateKey) -> ColumnElement[bool]:
    return and_(gates.c.pin_id == key.pin_id, gates.c.members == key.members_text())


def enter(tx: Connection, key: GateKey, instance_id: str, nonce: str) -> Entry:
    """Ask for the PIN: it is proven, or this instance gets the trial, or it waits. Part of V15's transaction."""
    tx.execute(
        insert_or_nothing(tx, gates).values(
            pin_id=key.pin_id, members=key.members_text(), state="UNPROVEN", trying=0, tries=0
        )
    )
    # Lease over after `trying`: nobody knows how the try ended, so it counts as a wrong one.
    counted = tx.execute(
        update(gates)
        .where(_row(key), gates.c.state == "UNPROVEN", gates.c.trying == 1, gates.c.until <= db_now())
        .values(
            tries=gates.c.tries + 1,
            trial=None,
            nonce=None,
            until=None,
            trying=0,
            state=case((gates.c.tries + 1 >= MAX_TRIES, "HALTED"), else_="UNPROVEN"),
        )
    ).rowcount
    claimed = tx.execute(
        update(gates)
        .where(
            _row(key),
            gates.c.state == "UNPROVEN",
            gates.c.trying == 0,
            or_(gates.c.trial.is_(None), gates.c.trial == instance_id, gates.c.until <= db_now()),
        )
        .values(
            trial=instance_id,
            nonce=nonce,
            # The same instance asking again keeps its old lease: a crash loop must not hold the fleet for ever.
            until=case(
                (and_(gates.c.trial == instance_id, gates.c.until > db_now()), gates.c.until), else_=db_now() + LEASE
            ),
        )
    ).rowcount
    if claimed:
        return Entry.TRIAL
    state = tx.execute(select(gates.c.state).where(_row(key)).with_for_update(read=True)).scalar_one()
    if state == "PROVEN":
        return Entry.OPEN
    if state == "HALTED":
        return Entry.NEWLY_HALTED if counted else Entry.HALTED
    return Entry.HELD


def still_closed(tx: Connection, key: GateKey, instance_id: str) -> bool:
    """V7: tell, by reading alone, whether asking again would only be held again."""
    found = tx.execute(
        select(gates.c.state).where(
            _row(key),
            or_(
                gates.c.state == "HALTED",
                and_(
                    gates.c.state == "UNPROVEN",
                    gates.c.trial.is_not(None),
                    gates.c.trial != instance_id,
                    gates.c.until > db_now(),
                ),
            ),
        )
    ).first()
    return found is not None


def _of_answer(instance_id: str, serial: int, nonce: str) -> ColumnElement[bool]:
    """Give the condition that a gate row is the one whose PIN the slot's last answer carried."""
    return exists(
        select(slots.c.serial).where(
            slots.c.instance_id == instance_id,
            slots.c.serial == serial,
            slots.c.nonce == nonce,
            slots.c.pin_id == gates.c.pin_id,
            slots.c.members == gates.c.members,
        )
    )


def begin_trying(tx: Connection, instance_id: str, serial: int, nonce: str) -> bool:
    """Note `trying`; False when the lease is no longer this answer's, so the tool must not run."""
    noted = tx.execute(
        update(gates)
        .where(
            _of_answer(instance_id, serial, nonce),
            or_(
                gates.c.state == "PROVEN",
                and_(
                    gates.c.state == "UNPROVEN",
                    gates.c.trial == instance_id,
                    gates.c.nonce == nonce,
                    gates.c.until > db_now(),
                ),
            ),
        )
        .values(trying=case((gates.c.state == "PROVEN", 0), else_=1))
    ).rowcount
    return noted == 1


def settle(tx: Connection, instance_id: str, serial: int, nonce: str, pin: str) -> str:
    """Note how the PIN fared: gives "proven", "halted", "freed", or "" when nothing changed."""
    mine = _of_answer(instance_id, serial, nonce)
    if pin == "accepted":
        done = tx.execute(
            update(gates)
            .where(mine, gates.c.state == "UNPROVEN")
            .values(state="PROVEN", trial=None, nonce=None, until=None, trying=0)
        ).rowcount
        return "proven" if done else ""
    if pin == "refused":
        # Also when it was proven before: the HSM's side changed, and every further host would burn a try.
        done = tx.execute(
            update(gates)
            .where(mine, gates.c.state != "HALTED")
            .values(state="HALTED", trial=None, nonce=None, until=None, trying=0)
        ).rowcount
        return "halted" if done else ""
    done = tx.execute(
        update(gates)
        .where(mine, gates.c.state == "UNPROVEN", gates.c.trial == instance_id, gates.c.nonce == nonce)
        .values(trial=None, nonce=None, until=None, trying=0)
    ).rowcount
    return "freed" if done else ""


def resume(tx: Connection, pin_id: str) -> int:
    """End HALTED for a PIN on an operator's word (`bundle resume`): two fresh tries. Gives how many rows that was."""
    return tx.execute(
        update(gates)
        .where(gates.c.pin_id == pin_id, gates.c.state == "HALTED")
        .values(state="UNPROVEN", tries=0, trial=None, nonce=None, until=None, trying=0)
    ).rowcount
