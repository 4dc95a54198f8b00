"""Knows the single statement that uses an operator's grant up (O6)."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Update, and_, or_, select, update

from hsm_verifier.ledger.claim import Claim
from hsm_verifier.ledger.schema import db_now, grants
from hsm_verifier.ledger.statements import Statement, given

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
