"""Knows the one-time rule: who owns an instance's slots and whether this request gets an answer (O1 to O7).

Everything happens in one transaction that first locks the instance's row. Each step is a conditional statement whose
row count is looked at (LG1); plain reads only choose the words of a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from hsm_verifier.ledger import gate, restored, rows
from hsm_verifier.ledger.gate import Entry
from hsm_verifier.ledger.restored import OlderCopy
from hsm_verifier.ledger.rows import ANSWERS_AN_HOUR, HOUR, Claim
from hsm_verifier.ledger.sightings import forget_hold, note_hold
from hsm_verifier.ledger.store import Store
from hsm_verifier.refusal import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A committed decision to answer. `how`: new, next, again, current, granted or relaunched.

    `repeated`: this key had this slot before, so an older copy of the ledger may know it too.
    """

    answer: bytes
    how: str
    repeated: bool
    trial: bool
    alarm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A committed decision to let it wait (V13)."""

    halted: bool
    alarm: bool


def take(store: Store, claim: Claim, make: Callable[[str, bool], bytes]) -> Taken | Held:
    """Decide, let `make(state, trial)` seal and sign, and commit. Raises Refusal.

    On a refusal, as on any exception, no slot has changed. `state` is "bundle" or "current". Nothing may be sent before
    this returns: it returns after COMMIT.
    """
    try:
        decided = _decide(store, claim, make)
    except OlderCopy:
        restored.enter(store)
        raise Refusal("busy", "LG5 ledger_is_an_older_copy", status=503, alarm=True) from None
    # What is repeated may be in an older copy too: a witness only while there is no better one.
    if isinstance(decided, Taken) and decided.how != "current" and not (decided.repeated and store.newest):
        store.when_committed(lambda: store.remember(claim.instance_id, claim.serial, claim.owner))
    return decided


def _decide(store: Store, claim: Claim, make: Callable[[str, bool], bytes]) -> Taken | Held:
    """Do what `take` promises in one transaction. Raises OlderCopy too."""
    with store.deciding() as tx, restored.guard(store, tx):
        entry = gate.enter(tx, claim.gate, claim.instance_id, claim.nonce) if claim.gate else Entry.OPEN
        if entry not in {Entry.OPEN, Entry.TRIAL}:
            note_hold(tx, claim.instance_id, claim.owner, claim.group)
            return Held(halted=entry is not Entry.HELD, alarm=entry is Entry.NEWLY_HALTED)
        trial = entry is Entry.TRIAL
        how, repeated = _own(tx, claim, trial=trial)
        forget_hold(tx, claim.instance_id)
        answer = make("current" if how == "current" else "bundle", trial)
    return Taken(answer=answer, how=how, repeated=repeated, trial=trial, alarm=how == "relaunched")


def confirm_have(store: Store, instance_id: str, owner: str, serial: int) -> bool:
    """O1, O3: the owner says, signed, that it has this serial: CONFIRMED. False when it is not the owner or REVOKED."""
    with store.deciding() as tx:
        return (
            rows.lock(tx, instance_id)
            and rows.is_owner(tx, instance_id, owner)
            and rows.confirm(tx, instance_id, serial)
        )


def _own(tx: Connection, claim: Claim, *, trial: bool) -> tuple[str, bool]:
    """Go through O4's cases; gives how and whether it is repeated. Raises Refusal."""
    if claim.have is not None and claim.have > claim.serial:
        raise Refusal("not_admitted", "O3 have_newer_than_current", alarm=True)
    is_new_key = rows.bind_key(tx, claim)
    if claim.first_time and rows.begin(tx, claim, needs_open=True):
        if claim.have == claim.serial:
            rows.insert_slot(tx, claim, trial=trial)
            rows.confirm(tx, claim.instance_id, claim.serial)
            return "current", False
        return _must(how="new", taken=rows.insert_slot(tx, claim, trial=trial)), False
    known = rows.lock(tx, claim.instance_id)
    if known and rows.revoked(tx, claim.instance_id):
        raise Refusal("not_admitted", "O1 revoked", alarm=True)
    if known and rows.is_owner(tx, claim.instance_id, claim.owner):
        return _as_owner(tx, claim, trial=trial)
    how, is_new_slot = _as_another(tx, claim, known=known, trial=trial)
    return how, not (is_new_key or is_new_slot)


def _as_owner(tx: Connection, claim: Claim, *, trial: bool) -> tuple[str, bool]:
    rows.refresh_instance(tx, claim)
    if claim.have == claim.serial:
        return _must(how="current", taken=rows.confirm(tx, claim.instance_id, claim.serial)), True
    if rows.insert_slot(tx, claim, trial=trial):
        return "next", False
    if rows.seal_again(tx, claim, trial=trial):
        return "again", True
    if rows.state(tx, claim) == "TAKEN":
        raise Refusal("busy", "O1 answers_an_hour", retry_after=HOUR / ANSWERS_AN_HOUR)
    if rows.use_grant(tx, claim):
        return _must(how="granted", taken=rows.retake(tx, claim, trial=trial)), True
    raise Refusal("already_enrolled", "O1 confirmed", status=410)


def _as_another(tx: Connection, claim: Claim, *, known: bool, trial: bool) -> tuple[str, bool]:
    """Go through the cases of a key that is not the owner; gives how and whether there was no slot before."""
    if rows.use_grant(tx, claim):
        # Unknown a moment ago is not unknown now: only the insert tells (LG1).
        if not rows.begin(tx, claim, needs_open=False):
            rows.replace_owner(tx, claim)
        return _take_over(tx, claim, how="granted", trial=trial)
    if known and claim.lost_key == "relaunched" and rows.relaunched(tx, claim):
        return _take_over(tx, claim, how="relaunched", trial=trial)
    detail = "O1 another_key" if known else "LG5 operator_mode" if claim.first_time else "O6 grant_used_up"
    raise Refusal("already_enrolled", detail, alarm=True)


def _take_over(tx: Connection, claim: Claim, *, how: str, trial: bool) -> tuple[str, bool]:
    is_new = rows.insert_slot(tx, claim, trial=trial)
    return _must(how=how, taken=is_new or rows.retake(tx, claim, trial=trial)), is_new


def _must(*, how: str, taken: bool) -> str:
    """Insist on a row count of one where the lock leaves no other possibility; a zero is a bug, and refused."""
    if not taken:
        raise Refusal("busy", f"O1 {how}_lost", status=503, alarm=True)
    return how
