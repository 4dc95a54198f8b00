"""Knows the single statements that move a slot, an owner or a grant; the row count tells whether one did (LG1)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Update, and_, case, exists, func, literal, or_, select, update

from hsm_verifier.ledger.gate import GateKey
from hsm_verifier.ledger.schema import db_now, grants, instances, meta, owners, slots
from hsm_verifier.ledger.statements import Statement, given
from hsm_verifier.ledger.store import insert_or_nothing
from hsm_verifier.refusal import Refusal

HOUR = 3600.0
ANSWERS_AN_HOUR = 20  # O1
MAX_TAKEOVERS = 2  # O5


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request that passed V1 to V12. `owner` is the thumbprint of `cnf`, `jwk` its JSON, kept for receipts.

    `launch_time` is EC2's, Unix seconds; `pending_time` the document's; `have` the serial installed there;
    `first_time` says that V11 and V12 were enforced, so O4 (a) may apply; `gate` is None when V13 is not wanted;
    `grants` says which the group's policy lets count: any, those that name the owner, or none ("off").
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
    grants: str = "any"


_OURS = instances.c.instance_id == given("instance")
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


_BIND_KEY = Statement(
    lambda tx: insert_or_nothing(tx, owners).values(
        thumbprint=given("owner"), instance_id=given("instance"), since=db_now()
    )
)
_KEEP_KEY = Statement(
    lambda _: (
        update(owners)
        .where(owners.c.thumbprint == given("owner"), owners.c.instance_id == given("instance"))
        .values(instance_id=given("instance"))
    )
)


def bind_key(tx: Connection, claim: Claim) -> None:
    """LG4: this key is this instance's, now and for ever, or it is a copy."""
    pair = {"owner": claim.owner, "instance": claim.instance_id}
    if not _BIND_KEY.count(tx, **pair) and not _KEEP_KEY.count(tx, **pair):
        raise Refusal("not_admitted", "LG4 key_of_another_instance", alarm=True)


_NEW_INSTANCE = {
    "instance_id": "instance",
    "owner": "owner",
    "jwk": "jwk",
    "grp": "group",
    "launch_time": "launch_time",
    "pending_time": "pending_time",
}
_BEGIN = Statement(
    lambda tx: insert_or_nothing(tx, instances).from_select(
        [*_NEW_INSTANCE, "takeovers", "asked"],
        select(
            *(given(name, instances.c[column].type) for column, name in _NEW_INSTANCE.items()), literal(0), db_now()
        ).where(
            or_(
                given("any_mode") == 1,
                exists(select(meta.c.name).where(meta.c.name == "mode", meta.c.value == "open")),
            )
        ),
    )
)


def begin(tx: Connection, claim: Claim, *, needs_open: bool) -> bool:
    """O4 (a): become the instance's first owner. In operator mode (LG5) only a grant may do that."""
    made = _BEGIN.count(
        tx,
        instance=claim.instance_id,
        owner=claim.owner,
        jwk=claim.jwk,
        group=claim.group,
        launch_time=claim.launch_time,
        pending_time=claim.pending_time,
        any_mode=int(not needs_open),
    )
    return made == 1


_LOCK = Statement(lambda _: update(instances).where(_OURS).values(asked=db_now()))
_LOCK_MINE = Statement(
    lambda _: update(instances).where(_OURS, instances.c.owner == given("owner")).values(asked=db_now())
)


def lock(tx: Connection, instance_id: str) -> bool:
    """Take the instance's row lock; False when it was never served."""
    return _LOCK.count(tx, instance=instance_id) > 0


def is_owner(tx: Connection, instance_id: str, owner: str) -> bool:
    """Tell whether this key owns the instance, by an update that also keeps the row lock."""
    return _LOCK_MINE.count(tx, instance=instance_id, owner=owner) == 1


# V6 has compared; the later time is kept in case another request was quicker. No comparison with NULL is true.
_LATER = or_(instances.c.pending_time.is_(None), instances.c.pending_time < given("pending_time"))
_REFRESH = Statement(
    lambda _: (
        update(instances)
        .where(_OURS)
        .values(
            grp=given("group"),
            launch_time=func.coalesce(given("launch_time", instances.c.launch_time.type), instances.c.launch_time),
            pending_time=case(
                (_LATER, given("pending_time", instances.c.pending_time.type)), else_=instances.c.pending_time
            ),
        )
    )
)


def refresh_instance(tx: Connection, claim: Claim) -> None:
    """Keep what AWS says of the owner's instance today: group, start, document."""
    _REFRESH.count(
        tx,
        instance=claim.instance_id,
        group=claim.group,
        launch_time=claim.launch_time,
        pending_time=claim.pending_time,
    )


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
_CONFIRM_LOST = Statement(
    lambda tx: insert_or_nothing(tx, slots).values(
        instance_id=given("instance"),
        serial=given("serial"),
        state="CONFIRMED",
        grp=select(instances.c.grp).where(_OURS).scalar_subquery(),
        level="owner",
        taken_at=db_now(),
        confirmed_at=db_now(),
        nonce="",
        hour=db_now(),
        answers=0,
        trial=0,
    )
)


def confirm(tx: Connection, instance_id: str, serial: int) -> bool:
    """TAKEN -> CONFIRMED; CONFIRMED stays. A slot the ledger lost (restored from a backup) is written down again."""
    here = {"instance": instance_id, "serial": serial}
    return bool(_CONFIRM.count(tx, **here)) or _CONFIRM_LOST.count(tx, **here) == 1


_FOR_THIS_KEY = grants.c.owner == given("owner")


def _use_one(whose: ColumnElement[bool]) -> Update:
    usable = and_(grants.c.instance_id == given("instance"), grants.c.remaining > 0, grants.c.until > db_now(), whose)
    one = select(grants.c.id).where(usable).order_by(grants.c.until).limit(1).scalar_subquery()
    return update(grants).where(grants.c.id == one, usable).values(remaining=grants.c.remaining - 1)


_USE_GRANT = {
    "any": Statement(lambda _: _use_one(or_(grants.c.owner.is_(None), _FOR_THIS_KEY))),
    "owner": Statement(lambda _: _use_one(_FOR_THIS_KEY)),
}
"""By what the group's policy lets count."""


def use_grant(tx: Connection, claim: Claim) -> bool:
    """O6: use one of a grant's count up; the database's clock ends it (LG2)."""
    statement = _USE_GRANT.get(claim.grants)
    return statement is not None and statement.count(tx, instance=claim.instance_id, owner=claim.owner) == 1


_REPLACE_OWNER = Statement(
    lambda _: update(instances).where(_OURS).values(owner=given("owner"), jwk=given("jwk"), takeovers=0)
)


def replace_owner(tx: Connection, claim: Claim) -> None:
    """O6: the new key replaces the owner in every slot of the instance."""
    refresh_instance(tx, claim)
    _REPLACE_OWNER.count(tx, instance=claim.instance_id, owner=claim.owner, jwk=claim.jwk)


_MINE = slots.c.instance_id == given("instance")
_RELAUNCHED = Statement(
    lambda _: (
        update(instances)
        .where(
            _OURS,
            instances.c.launch_time < given("launch_time"),
            instances.c.takeovers < MAX_TAKEOVERS,
            exists(
                select(slots.c.serial).where(
                    _MINE,
                    slots.c.serial == select(func.max(slots.c.serial)).where(_MINE).scalar_subquery(),
                    slots.c.state == "TAKEN",
                    slots.c.confirmed_at.is_(None),
                )
            ),
        )
        .values(
            owner=given("owner"),
            jwk=given("jwk"),
            takeovers=instances.c.takeovers + 1,
            launch_time=given("launch_time"),
        )
    )
)


def relaunched(tx: Connection, claim: Claim) -> bool:
    """O5: the newest slot was never confirmed, AWS vouched for the asker, and the machine was started anew since."""
    if claim.level != "identity-role" or claim.launch_time is None:
        return False
    done = _RELAUNCHED.count(
        tx, instance=claim.instance_id, owner=claim.owner, jwk=claim.jwk, launch_time=claim.launch_time
    )
    return done == 1


_REVOKED = Statement(lambda _: select(slots.c.serial).where(_MINE, slots.c.state == "REVOKED").limit(1))
_STATE = Statement(lambda _: select(slots.c.state).where(_SLOT))


def revoked(tx: Connection, instance_id: str) -> bool:
    """Tell whether an operator ended this instance (any slot REVOKED)."""
    return _REVOKED.row(tx, instance=instance_id) is not None


def state(tx: Connection, claim: Claim) -> str:
    """Give the slot's state, to word a refusal."""
    found = _STATE.row(tx, instance=claim.instance_id, serial=claim.serial)
    return "FREE" if found is None else str(found[0])
