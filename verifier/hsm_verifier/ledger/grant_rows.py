"""Knows the single statement that uses an operator's grant up (O6)."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Update, and_, or_, select, update

from hsm_verifier.ledger.claim import Claim
from hsm_verifier.ledger.schema import db_now, grants
from hsm_verifier.ledger.statements import Statement, given

_FOR_THIS_KEY = grants.c.owner == given("owner")


_FOR_ANY_KEY = or_(grants.c.owner.is_(None), _FOR_THIS_KEY)


def _usable(whose: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(grants.c.instance_id == given("instance"), grants.c.remaining > 0, grants.c.until > db_now(), whose)


def _use_one(whose: ColumnElement[bool]) -> Update:
    usable = _usable(whose)
    one = select(grants.c.id).where(usable).order_by(grants.c.until).limit(1).scalar_subquery()
    return update(grants).where(grants.c.id == one, usable).values(remaining=grants.c.remaining - 1)


_USE_GRANT = {
    "any": Statement(lambda _: _use_one(_FOR_ANY_KEY)),
    "owner": Statement(lambda _: _use_one(_FOR_THIS_KEY)),
}
"""By what the group's policy lets count."""


def use_grant(tx: Connection, claim: Claim) -> bool:
    """O6: use one of a grant's count up; the database's clock ends it (LG2)."""
    statement = _USE_GRANT.get(claim.grants)
    return statement is not None and statement.count(tx, instance=claim.instance_id, owner=claim.owner) == 1


_LOOK = Statement(
    lambda _: select(grants.c.owner).where(_usable(_FOR_ANY_KEY)).order_by(grants.c.owner.is_(None)).limit(1)
)


def waiting_grants(tx: Connection, instance_id: str, owner: str) -> frozenset[str]:
    """Tell, by reading alone, by which words of a policy (`Group.grants`) there is a grant that this key could use."""
    found = _LOOK.row(tx, instance=instance_id, owner=owner)
    if found is None:
        return frozenset()
    return frozenset({"any"}) if found[0] is None else frozenset({"any", "owner"})
