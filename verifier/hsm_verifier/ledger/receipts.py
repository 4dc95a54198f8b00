"""Knows what a receipt changes: the slot of the last answer, and the PIN's gate. Repeating one changes nothing more."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, func, select, update

from hsm_verifier.ledger import gate
from hsm_verifier.ledger.rows import is_owner
from hsm_verifier.ledger.schema import db_now, instances, slots
from hsm_verifier.ledger.statements import Statement, given
from hsm_verifier.ledger.store import Store
from hsm_verifier.refusal import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What the owner reports about one answer, named by its nonce; words as in docs/protocol.md, "Receipt"."""

    instance_id: str
    owner: str
    serial: int
    nonce: str
    result: str
    code: str | None
    pin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What changed, for the audit: `effect` is a list of words, empty when the receipt was stale or a repetition."""

    effect: tuple[str, ...]
    alarm: bool


_SLOT = and_(slots.c.instance_id == given("instance"), slots.c.serial == given("serial"))
_HERE = and_(_SLOT, slots.c.nonce == given("nonce"))
_OWNER_JWK = Statement(
    lambda _: select(instances.c.jwk).join(slots, slots.c.instance_id == instances.c.instance_id).where(_SLOT)
)
_WITHOUT_PIN = Statement(lambda _: select(slots.c.serial).where(_HERE, slots.c.pin_id.is_(None)))
_TOLD = {"result": given("result"), "code": given("code"), "pin": given("pin")}
_WRITE = Statement(lambda _: update(slots).where(_HERE, slots.c.state == "TAKEN").values(_TOLD))
_CONFIRM = Statement(
    lambda _: (
        update(slots)
        .where(_HERE, slots.c.state == "TAKEN")
        .values(state="CONFIRMED", confirmed_at=func.coalesce(slots.c.confirmed_at, db_now()), **_TOLD)
    )
)


def owner_jwk(store: Store, instance_id: str, serial: int) -> str | None:
    """Give the JWK of the owner of a slot, or None when there is no such slot."""
    with store.reading() as tx:
        found = _OWNER_JWK.row(tx, instance=instance_id, serial=serial)
    return None if found is None else str(found[0])


def note(store: Store, told: Note) -> Noted:
    """Write a verified receipt down.

    Raises Refusal `hold` for a `trying` whose trial is over or another answer's: its 204 would let the tool run, and
    the bound on wrong tries would not hold. Every other stale receipt has no effect and no error.
    """
    effect: list[str] = []
    with store.deciding() as tx:
        # The gate's row is locked before the instance's, as in take(): one order, no deadlock on PostgreSQL.
        if told.result == "trying":
            permitted = gate.begin_trying(tx, told.instance_id, told.serial, told.nonce)
        else:
            changed = gate.settle(tx, told.instance_id, told.serial, told.nonce, told.pin)
            effect += [changed] if changed else []
            permitted = True
        if not is_owner(tx, told.instance_id, told.owner):
            raise Refusal("not_admitted", "R owner_changed")
        here = {"instance": told.instance_id, "serial": told.serial, "nonce": told.nonce}
        if not permitted and _WITHOUT_PIN.row(tx, **here) is None:
            raise Refusal("hold", "V13 trial_over", retry_after=30.0)
        installed = told.result == "installed"
        written = (_CONFIRM if installed else _WRITE).count(
            tx, **here, result=told.result, code=told.code, pin=told.pin
        )
        if written:
            effect += ["noted", "confirmed"] if installed else ["noted"]
    return Noted(effect=tuple(effect), alarm="halted" in effect)
