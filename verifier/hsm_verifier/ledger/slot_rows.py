"""Knows the single statements that move a slot from one state to another (O1); the row count tells whether one did."""

from __future__ import annotations

from sqlalchemy import Connection, and_, case, exists, func, literal, not_, or_, select, update

from hsm_verifier.ledger.claim import Claim
from hsm_verifier.ledger.schema import db_now, instances, slots
from hsm_verifier.ledger.statements import Statement, given
from hsm_verifier.ledger.store import insert_or_nothing

HOUR = 3600.0
ANSWERS_AN_HOUR = 20  # O1

_OURS = instances.c.instance_id == given("instance")
_MINE = slots.c.instance_id == given("instance")
_SLOT = and_(slots.c.instance_id == given("instance"), slots.c.serial == given("serial"))
_ANSWER = {
    slots.c.nonce: given("nonce"),
    slots.c.level: given("level"),
    slots.c.grp: given("group"),
    slots.c.trial: given("trial"),
    slots.c.pin_id: given("pin_id"),
    slots.c.members: given("members"),
}
"""What a slot remembers of its last answer."""


def _answer(claim: Claim, *, trial: bool) -> dict[str, object]:
    """Give what _SLOT and _ANSWER want."""
    return {
        "instance": claim.instance_id,
        "serial": claim.serial,
        "nonce": claim.nonce,
        "level": claim.level,
        "group": claim.group,
        "trial": int(trial),
        "pin_id": claim.gate.pin_id if claim.gate else None,
        "members": claim.gate.members_text() if claim.gate else None,
    }


_INSERT_SLOT = Statement(
    lambda tx: insert_or_nothing(tx, slots).values(
        {
            slots.c.instance_id: given("instance"),
            slots.c.serial: given("serial"),
            slots.c.state: "TAKEN",
            slots.c.taken_at: db_now(),
            slots.c.hour: db_now(),
            slots.c.answers: 1,
            **_ANSWER,
        }
    )
)


def insert_slot(tx: Connection, claim: Claim, *, trial: bool) -> bool:
    """FREE -> TAKEN; that only the owner comes here for a newer serial is O2 (take.py)."""
    return _INSERT_SLOT.count(tx, **_answer(claim, trial=trial)) == 1


_NEW_HOUR = slots.c.hour <= db_now() - HOUR
_SEAL_AGAIN = Statement(
    lambda _: (
        update(slots)
        .where(_SLOT, slots.c.state == "TAKEN", or_(_NEW_HOUR, slots.c.answers < ANSWERS_AN_HOUR))
        .values(
            {
                slots.c.answers: case((_NEW_HOUR, 1), else_=slots.c.answers + 1),
                slots.c.hour: case((_NEW_HOUR, db_now()), else_=slots.c.hour),
                **_ANSWER,
            }
        )
    )
)


def seal_again(tx: Connection, claim: Claim, *, trial: bool) -> bool:
    """TAKEN by its owner: answer again, at most so often an hour."""
    return _SEAL_AGAIN.count(tx, **_answer(claim, trial=trial)) == 1


_RETAKE = Statement(
    lambda _: (
        update(slots)
        .where(_SLOT, slots.c.state != "REVOKED")
        .values(
            {
                slots.c.state: "TAKEN",
                slots.c.taken_at: db_now(),
                slots.c.hour: db_now(),
                slots.c.answers: 1,
                **_ANSWER,
            }
        )
    )
)


def retake(tx: Connection, claim: Claim, *, trial: bool) -> bool:
    """Make the current slot TAKEN again after a grant or a relaunch; `confirmed_at` stays, it once was."""
    return _RETAKE.count(tx, **_answer(claim, trial=trial)) == 1


_CONFIRM = Statement(
    lambda _: (
        update(slots)
        .where(_SLOT, slots.c.state != "REVOKED")
        .values(state="CONFIRMED", confirmed_at=func.coalesce(slots.c.confirmed_at, db_now()))
    )
)
_REVOKED_SLOT = select(slots.c.serial).where(_MINE, slots.c.state == "REVOKED")
_LOST = {
    slots.c.instance_id: given("instance", slots.c.instance_id.type),
    slots.c.serial: given("serial", slots.c.serial.type),
    slots.c.state: literal("CONFIRMED"),
    slots.c.grp: select(instances.c.grp).where(_OURS).scalar_subquery(),
    slots.c.level: literal("owner"),
    slots.c.taken_at: db_now(),
    slots.c.confirmed_at: db_now(),
    slots.c.nonce: literal(""),
    slots.c.hour: db_now(),
    slots.c.answers: literal(0),
    slots.c.trial: literal(0),
}
_CONFIRM_LOST = Statement(
    lambda tx: insert_or_nothing(tx, slots).from_select(
        [*_LOST], select(*_LOST.values()).where(not_(exists(_REVOKED_SLOT)))
    )
)


def confirm(tx: Connection, instance_id: str, serial: int) -> bool:
    """TAKEN -> CONFIRMED; CONFIRMED stays. A slot the ledger lost (restored from a backup) is written down again.

    Not of an instance that an operator ended: REVOKED is of the whole instance, whatever serial its owner names.
    """
    here = {"instance": instance_id, "serial": serial}
    return bool(_CONFIRM.count(tx, **here)) or _CONFIRM_LOST.count(tx, **here) == 1


_REVOKED = Statement(lambda _: _REVOKED_SLOT.limit(1))
_STATE = Statement(lambda _: select(slots.c.state).where(_SLOT))


def revoked(tx: Connection, instance_id: str) -> bool:
    """Tell whether an operator ended this instance (any slot REVOKED)."""
    return _REVOKED.row(tx, instance=instance_id) is not None


def state(tx: Connection, claim: Claim) -> str:
    """Give the slot's state, to word a refusal."""
    found = _STATE.row(tx, instance=claim.instance_id, serial=claim.serial)
    return "FREE" if found is None else str(found[0])
