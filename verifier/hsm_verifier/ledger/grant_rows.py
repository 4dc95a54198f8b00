"""Knows the single statement that uses an operator's grant up (O6), and how to see that there is one."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Select, Update, and_, or_, select, update

from hsm_verifier.ledger.claim import Claim
from hsm_verifier.ledger.schema import db_now, grants
from hsm_verifier.ledger.statements import Statement, given

_FOR_THIS_KEY = grants.c.owner == given("owner")
_FOR_ANY_KEY = or_(grants.c.owner.is_(None), _FOR_THIS_KEY)


def _usable(counting: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(grants.c.instance_id == given("instance"), grants.c.remaining > 0, grants.c.until > db_now(), counting)


def _look(counting: ColumnElement[bool]) -> Select[tuple[int]]:
    return select(grants.c.id).where(_usable(counting)).order_by(grants.c.until).limit(1)


def _use_one(counting: ColumnElement[bool]) -> Update:
    one = _look(counting).scalar_subquery()
    return update(grants).where(grants.c.id == one, _usable(counting)).values(remaining=grants.c.remaining - 1)


_LOOK = {"any": Statement(lambda _: _look(_FOR_ANY_KEY)), "owner": Statement(lambda _: _look(_FOR_THIS_KEY))}
_USE = {"any": Statement(lambda _: _use_one(_FOR_ANY_KEY)), "owner": Statement(lambda _: _use_one(_FOR_THIS_KEY))}
"""By what the group's policy lets count."""


def use_grant(tx: Connection, claim: Claim) -> bool:
    """O6: use one of a grant's count up; the database's clock ends it (LG2)."""
    statement = _USE.get(claim.grants)
    return statement is not None and statement.count(tx, instance=claim.instance_id, owner=claim.owner) == 1


def is_waiting(tx: Connection, instance_id: str, owner: str, which: str) -> bool:
    """Tell, by reading alone, whether there is one that `use_grant` would use."""
    statement = _LOOK.get(which)
    return statement is not None and statement.row(tx, instance=instance_id, owner=owner) is not None
