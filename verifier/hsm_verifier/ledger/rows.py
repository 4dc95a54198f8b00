"""Knows the single statements that move a slot, an owner or a grant; the row count tells whether one did (LG1)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, literal, or_, select, update

from hsm_verifier.ledger.gate import GateKey
from hsm_verifier.ledger.schema import db_now, grants, instances, meta, owners, slots
from hsm_verifier.ledger.store import insert_or_nothing
from hsm_verifier.refusal import Refusal

HOUR = 3600.0
ANSWERS_AN_HOUR = 20  # O1
MAX_TAKEOVERS = 2  # O5


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request that passed V1 to V12. `owner` is the thumbprint of `cnf`, `jwk` its JSON, kept for receipts.

    `launch_time` is EC2's, Unix seconds; `pending_time` the document's; `have` the serial installed there;
    `first_time` says that V11 and V12 were enforced, so O4 (a) may apply; `gate` is None when V13 is not wanted.
    """

    instance_id: str
    owner: str
    jwk: str
    group: str
    serial: int
    nonce: str
    level: str
    first_time: bool
    launch_time: float | None
    pending_time: float | None
    have: int | None
    lost_key: str
    gate: GateKey | None


def bind_key(tx: Connection, claim: Claim) -> None:
    """LG4: this key is this instance's, now and for ever, or it is a copy."""
    if tx.execute(
        insert_or_nothing(tx, owners).values(thumbprint=claim.owner, instance_id=claim.instance_id, since=db_now())
    ).rowcount:
        return
    ours = update(owners).where(owners.c.thumbprint == claim.owner, owners.c.instance_id == claim.instance_id)
    if not tx.execute(ours.values(instance_id=claim.instance_id)).rowcount:
        raise Refusal("not_admitted", "LG4 key_of_another_instance", alarm=True)


def begin(tx: Connection, claim: Claim, *, needs_open: bool) -> bool:
    """O4 (a): become the instance's first owner. In operator mode (LG5) only a grant may do that."""
    row = {
        "instance_id": claim.instance_id,
        "owner": claim.owner,
        "jwk": claim.jwk,
        "grp": claim.group,
        "launch_time": claim.launch_time,
        "pending_time": claim.pending_time,
        "takeovers": 0,
    }
    columns = {name: literal(value, instances.c[name].type) for name, value in row.items()}
    mode_open = exists(select(meta.c.name).where(meta.c.name == "mode", meta.c.value == "open"))
    source = select(*columns.values(), db_now()).where(mode_open if needs_open else literal(value=True))
    statement = insert_or_nothing(tx, instances).from_select([*columns, "asked"], source)
    return tx.execute(statement).rowcount == 1


def lock(tx: Connection, instance_id: str) -> bool:
    """Take the instance's row lock; False when it was never served."""
    return (
        tx.execute(update(instances).where(instances.c.instance_id == instance_id).values(asked=db_now())).rowcount > 0
    )


def is_owner(tx: Connection, instance_id: str, owner: str) -> bool:
    """Tell whether this key owns the instance, by an update that also keeps the row lock."""
    mine = update(instances).where(instances.c.instance_id == instance_id, instances.c.owner == owner)
    return tx.execute(mine.values(asked=db_now())).rowcount == 1


def refresh_instance(tx: Connection, claim: Claim) -> None:
    """Keep what AWS says of the owner's instance today: group, start, document."""
    values: dict[str, object] = {"grp": claim.group}
    if claim.launch_time is not None:
        values["launch_time"] = claim.launch_time
    if claim.pending_time is not None:  # V6 has compared; keep the later in case another request was quicker
        pending = instances.c.pending_time
        values["pending_time"] = case(
            (or_(pending.is_(None), pending < claim.pending_time), claim.pending_time), else_=pending
        )
    tx.execute(update(instances).where(instances.c.instance_id == claim.instance_id).values(**values))


def slot(claim: Claim) -> ColumnElement[bool]:
    """Give the condition for the claim's own slot."""
    return and_(slots.c.instance_id == claim.instance_id, slots.c.serial == claim.serial)


def answer_columns(claim: Claim, *, trial: bool) -> dict[str, object]:
    """Give what a slot remembers of its last answer."""
    return {
        "nonce": claim.nonce,
        "level": claim.level,
        "grp": claim.group,
        "trial": int(trial),
        "pin_id": claim.gate.pin_id if claim.gate else None,
        "members": claim.gate.members_text() if claim.gate else None,
    }


def insert_slot(tx: Connection, claim: Claim, *, trial: bool) -> bool:
    """FREE -> TAKEN; that only the owner comes here for a newer serial is O2 (take.py)."""
    return (
        tx.execute(
            insert_or_nothing(tx, slots).values(
                instance_id=claim.instance_id,
                serial=claim.serial,
                state="TAKEN",
                taken_at=db_now(),
                hour=db_now(),
                answers=1,
                **answer_columns(claim, trial=trial),
            )
        ).rowcount
        == 1
    )


def seal_again(tx: Connection, claim: Claim, *, trial: bool) -> bool:
    """TAKEN by its owner: answer again, at most so often an hour."""
    new_hour = slots.c.hour <= db_now() - HOUR
    return (
        tx.execute(
            update(slots)
            .where(slot(claim), slots.c.state == "TAKEN", or_(new_hour, slots.c.answers < ANSWERS_AN_HOUR))
            .values(
                answers=case((new_hour, 1), else_=slots.c.answers + 1),
                hour=case((new_hour, db_now()), else_=slots.c.hour),
                **answer_columns(claim, trial=trial),
            )
        ).rowcount
        == 1
    )


def retake(tx: Connection, claim: Claim, *, trial: bool) -> bool:
    """Make the current slot TAKEN again after a grant or a relaunch; `confirmed_at` stays, it once was."""
    return (
        tx.execute(
            update(slots)
            .where(slot(claim), slots.c.state != "REVOKED")
            .values(state="TAKEN", taken_at=db_now(), hour=db_now(), answers=1, **answer_columns(claim, trial=trial))
        ).rowcount
        == 1
    )


def confirm(tx: Connection, instance_id: str, serial: int) -> bool:
    """TAKEN -> CONFIRMED; CONFIRMED stays. A slot the ledger lost (restored from a backup) is written down again."""
    here = and_(slots.c.instance_id == instance_id, slots.c.serial == serial)
    done = tx.execute(
        update(slots)
        .where(here, slots.c.state != "REVOKED")
        .values(state="CONFIRMED", confirmed_at=func.coalesce(slots.c.confirmed_at, db_now()))
    ).rowcount
    if done:
        return True
    group = select(instances.c.grp).where(instances.c.instance_id == instance_id).scalar_subquery()
    return (
        tx.execute(
            insert_or_nothing(tx, slots).values(
                instance_id=instance_id,
                serial=serial,
                state="CONFIRMED",
                grp=group,
                level="owner",
                taken_at=db_now(),
                confirmed_at=db_now(),
                nonce="",
                hour=db_now(),
                answers=0,
                trial=0,
            )
        ).rowcount
        == 1
    )


def use_grant(tx: Connection, claim: Claim) -> bool:
    """O6: use one of a grant's count up; the database's clock ends it (LG2)."""
    usable = and_(
        grants.c.instance_id == claim.instance_id,
        grants.c.remaining > 0,
        grants.c.until > db_now(),
        or_(grants.c.owner.is_(None), grants.c.owner == claim.owner),
    )
    one = select(grants.c.id).where(usable).order_by(grants.c.until).limit(1).scalar_subquery()
    return (
        tx.execute(update(grants).where(grants.c.id == one, usable).values(remaining=grants.c.remaining - 1)).rowcount
        == 1
    )


def replace_owner(tx: Connection, claim: Claim) -> None:
    """O6: the new key replaces the owner in every slot of the instance."""
    refresh_instance(tx, claim)
    tx.execute(
        update(instances)
        .where(instances.c.instance_id == claim.instance_id)
        .values(owner=claim.owner, jwk=claim.jwk, takeovers=0)
    )


def relaunched(tx: Connection, claim: Claim) -> bool:
    """O5: the newest slot was never confirmed, AWS vouched for the asker, and the machine was started anew since."""
    if claim.level != "identity-role" or claim.launch_time is None:
        return False
    mine = slots.c.instance_id == claim.instance_id
    newest = select(func.max(slots.c.serial)).where(mine).scalar_subquery()
    never_confirmed = exists(
        select(slots.c.serial).where(
            mine, slots.c.serial == newest, slots.c.state == "TAKEN", slots.c.confirmed_at.is_(None)
        )
    )
    done = tx.execute(
        update(instances)
        .where(
            instances.c.instance_id == claim.instance_id,
            instances.c.launch_time < claim.launch_time,
            instances.c.takeovers < MAX_TAKEOVERS,
            never_confirmed,
        )
        .values(owner=claim.owner, jwk=claim.jwk, takeovers=instances.c.takeovers + 1, launch_time=claim.launch_time)
    ).rowcount
    return done == 1


def revoked(tx: Connection, instance_id: str) -> bool:
    """Tell whether an operator ended this instance (any slot REVOKED)."""
    found = select(slots.c.serial).where(slots.c.instance_id == instance_id, slots.c.state == "REVOKED").limit(1)
    return tx.execute(found).first() is not None


def state(tx: Connection, claim: Claim) -> str:
    """Give the slot's state, to word a refusal."""
    return str(tx.execute(select(slots.c.state).where(slot(claim))).scalar_one())
