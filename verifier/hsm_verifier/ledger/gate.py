"""Knows who may try a new PIN first (V13): a wrong PIN must not lock a partition because a whole fleet tried it.

One row a (PIN id, member list): UNPROVEN, PROVEN or HALTED. One instance at a time holds the trial, for ten minutes.
Bound on wrong tries over a fleet: two, however many verifiers share the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, and_, case, exists, or_, select, update

from hsm_verifier.ledger.schema import db_now, gates, slots
from hsm_verifier.ledger.statements import Statement, given
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


_ROW = and_(gates.c.pin_id == given("pin_id"), gates.c.members == given("members"))
_UNPROVEN = gates.c.state == "UNPROVEN"
_MINE = gates.c.trial == given("instance")
_OVER = gates.c.until <= db_now()
_NOBODYS = {gates.c.trial: None, gates.c.nonce: None, gates.c.until: None, gates.c.trying: 0}

_MAKE = Statement(
    lambda tx: insert_or_nothing(tx, gates).values(
        pin_id=given("pin_id"), members=given("members"), state="UNPROVEN", trying=0, tries=0
    )
)
# Lease over after `trying`: nobody knows how the try ended, so it counts as a wrong one.
_COUNT_LOST_TRY = Statement(
    lambda _: (
        update(gates)
        .where(_ROW, _UNPROVEN, gates.c.trying == 1, _OVER)
        .values(
            {
                gates.c.tries: gates.c.tries + 1,
                gates.c.state: case((gates.c.tries + 1 >= MAX_TRIES, "HALTED"), else_="UNPROVEN"),
                **_NOBODYS,
            }
        )
    )
)
_CLAIM_TRIAL = Statement(
    lambda _: (
        update(gates)
        .where(_ROW, _UNPROVEN, gates.c.trying == 0, or_(gates.c.trial.is_(None), _MINE, _OVER))
        .values(
            {
                gates.c.trial: given("instance"),
                gates.c.nonce: given("nonce"),
                # The same instance asking again keeps its old lease: a crash loop must not hold the fleet for ever.
                gates.c.until: case((and_(_MINE, gates.c.until > db_now()), gates.c.until), else_=db_now() + LEASE),
            }
        )
    )
)
# No lock until COMMIT: who is under way when a PIN is refused hands it out either way, and the refusal would have to
# wait for all of them, and for those who came after it as well: PostgreSQL lets who shares a row in before who writes.
_LOOK = Statement(lambda _: select(gates.c.state).where(_ROW))


def enter(tx: Connection, key: GateKey, instance_id: str, nonce: str) -> Entry:
    """Ask for the PIN: it is proven, or this instance gets the trial, or it waits. Part of V15's transaction."""
    row = {"pin_id": key.pin_id, "members": key.members_text()}
    if _look(tx, row) == "PROVEN":
        return Entry.OPEN
    _MAKE.count(tx, **row)
    counted = _COUNT_LOST_TRY.count(tx, **row)
    if _CLAIM_TRIAL.count(tx, **row, instance=instance_id, nonce=nonce):
        return Entry.TRIAL
    state = _look(tx, row)
    if state == "PROVEN":
        return Entry.OPEN
    if state == "HALTED":
        return Entry.NEWLY_HALTED if counted else Entry.HALTED
    return Entry.HELD


def _look(tx: Connection, row: dict[str, str]) -> str:
    found = _LOOK.row(tx, **row)
    return "" if found is None else str(found[0])


_STILL_CLOSED = Statement(
    lambda _: select(gates.c.state).where(
        _ROW,
        or_(
            gates.c.state == "HALTED",
            and_(
                _UNPROVEN,
                gates.c.trial.is_not(None),
                gates.c.trial != given("instance"),
                gates.c.until > db_now(),
            ),
        ),
    )
)


def still_closed(tx: Connection, key: GateKey, instance_id: str) -> bool:
    """V7: tell, by reading alone, whether asking again would only be held again."""
    found = _STILL_CLOSED.row(tx, pin_id=key.pin_id, members=key.members_text(), instance=instance_id)
    return found is not None


# The gate's row whose PIN the slot's last answer carried; one whom an operator ended has no say in it any more.
_OF_ANSWER = exists(
    select(slots.c.serial).where(
        slots.c.instance_id == given("instance"),
        slots.c.serial == given("serial"),
        slots.c.nonce == given("nonce"),
        slots.c.state != "REVOKED",
        slots.c.pin_id == gates.c.pin_id,
        slots.c.members == gates.c.members,
    )
)
_LEASE_IS_MINE = and_(_UNPROVEN, _MINE, gates.c.nonce == given("nonce"))
_BEGIN_TRYING = Statement(
    lambda _: (
        update(gates)
        .where(_OF_ANSWER, or_(gates.c.state == "PROVEN", and_(_LEASE_IS_MINE, gates.c.until > db_now())))
        .values(trying=case((gates.c.state == "PROVEN", 0), else_=1))
    )
)
_PROVE = Statement(lambda _: update(gates).where(_OF_ANSWER, _UNPROVEN).values({gates.c.state: "PROVEN", **_NOBODYS}))
# Also when it was proven before: the HSM's side changed, and every further host would burn a try.
_HALT = Statement(
    lambda _: update(gates).where(_OF_ANSWER, gates.c.state != "HALTED").values({gates.c.state: "HALTED", **_NOBODYS})
)
_FREE = Statement(lambda _: update(gates).where(_OF_ANSWER, _LEASE_IS_MINE).values(_NOBODYS))
_SETTLING = {"accepted": (_PROVE, "proven"), "refused": (_HALT, "halted")}


def begin_trying(tx: Connection, instance_id: str, serial: int, nonce: str) -> bool:
    """Note `trying`; False when the lease is no longer this answer's, so the tool must not run."""
    return _BEGIN_TRYING.count(tx, instance=instance_id, serial=serial, nonce=nonce) == 1


def settle(tx: Connection, instance_id: str, serial: int, nonce: str, pin: str) -> str:
    """Note how the PIN fared: gives "proven", "halted", "freed", or "" when nothing changed."""
    statement, word = _SETTLING.get(pin, (_FREE, "freed"))
    return word if statement.count(tx, instance=instance_id, serial=serial, nonce=nonce) else ""


def resume(tx: Connection, pin_id: str) -> int:
    """End HALTED for a PIN on an operator's word (`bundle resume`): two fresh tries. Gives how many rows that was."""
    return tx.execute(
        update(gates)
        .where(gates.c.pin_id == pin_id, gates.c.state == "HALTED")
        .values(state="UNPROVEN", tries=0, trial=None, nonce=None, until=None, trying=0)
    ).rowcount
