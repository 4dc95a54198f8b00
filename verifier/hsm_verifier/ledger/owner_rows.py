"""Knows the single statements that bind a key, begin an instance, lock its row or replace its owner (LG1)."""

from __future__ import annotations

from sqlalchemy import Connection, case, exists, func, literal, or_, select, update

from hsm_verifier.ledger.claim import Claim
from hsm_verifier.ledger.schema import db_now, instances, meta, owners, slots
from hsm_verifier.ledger.statements import Statement, given
from hsm_verifier.ledger.store import insert_or_nothing
from hsm_verifier.refusal import Refusal

MAX_TAKEOVERS = 2  # O5

_OURS = instances.c.instance_id == given("instance")

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


def bind_key(tx: Connection, claim: Claim) -> bool:
    """LG4: this key is this instance's, now and for ever, or it is a copy. Tells whether it was unknown until now."""
    pair = {"owner": claim.owner, "instance": claim.instance_id}
    if _BIND_KEY.count(tx, **pair):
        return True
    if not _KEEP_KEY.count(tx, **pair):
        raise Refusal("not_admitted", "LG4 key_of_another_instance", alarm=True)
    return False


_NEW_INSTANCE = {
    "instance_id": "instance",
    "owner": "owner",
    "jwk": "jwk",
    "grp": "group",
    "launch_time": "launch_time",
    "pending_time": "pending_time",
}
_IS_OPEN = exists(select(meta.c.name).where(meta.c.name == "mode", meta.c.value == "open"))
_BEGIN = Statement(
    lambda tx: insert_or_nothing(tx, instances).from_select(
        [*_NEW_INSTANCE, "takeovers", "asked"],
        select(
            *(given(name, instances.c[column].type) for column, name in _NEW_INSTANCE.items()), literal(0), db_now()
        ).where(or_(given("any_mode") == 1, _IS_OPEN)),
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
            _IS_OPEN,  # an older copy does not know who was confirmed since (LG5)
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
