"""Knows how to tell that a ledger is an older copy of itself, restored from a backup, and what then ends (LG5).

Whom a lost day has served nobody knows, so newcomers need an operator's word. Three things of a backup must not come
back to life: grants, which may have been used since; PINs it calls proven, which may have been refused since; and its
mode. The proof is always the same: a decision that was seen committed, by this process or in the audit, is not there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from sqlalchemy import Connection, and_, exists, select, update

from hsm_verifier.ledger.schema import db_now, gates, grants, meta, owners, slots
from hsm_verifier.ledger.statements import Statement, given
from hsm_verifier.ledger.store import Store, judge
from hsm_verifier.witness import Witness

_CHECKED = "hsm_checked"  # when a connection was last looked at, by time.monotonic()
LOOKED_AT = 1.0  # seconds for which that counts


class OlderCopy(Exception):
    """The ledger lacks a decision that was committed."""


_HAS = Statement(
    lambda _: select(
        and_(
            exists(
                select(slots.c.serial).where(
                    slots.c.instance_id == given("instance"), slots.c.serial == given("serial")
                )
            ),
            exists(
                select(owners.c.thumbprint).where(
                    owners.c.thumbprint == given("owner"), owners.c.instance_id == given("instance")
                )
            ),
        )
    )
)


def lacks(tx: Connection, witness: Witness) -> bool:
    """Tell whether the slot was never taken here or the key never accepted: neither is ever forgotten otherwise."""
    found = _HAS.row(tx, instance=witness.instance_id, serial=witness.serial, owner=witness.owner)
    return not (found and found[0])


@contextlib.contextmanager
def guard(store: Store, tx: Connection) -> Iterator[None]:
    """Look at each new connection, and at an old one each second. Raises OlderCopy.

    A database that was replaced under us has broken the connections to it; a backup that was written into it, and a
    standby that takes over, break none. So a look counts only when the decision it was for has then written.
    """
    began = time.monotonic()
    newest = None if began - tx.info.get(_CHECKED, float("-inf")) < LOOKED_AT else store.newest
    if newest is not None and lacks(tx, newest):
        if not _is_judged(tx, began - store.newest_seen):
            raise OlderCopy
        store.when_committed(lambda: store.forget(newest))
    yield
    if newest is not None:
        tx.info[_CHECKED] = began


_OPENED = Statement(lambda _: select(meta.c.value, db_now()).where(meta.c.name == "opened"))


def _is_judged(tx: Connection, age: float) -> bool:
    """Tell whether somebody found out since, another verifier or an operator: what was granted then must not end.

    Who finds out notes it in this copy; an older copy that had such a note before would have what was seen before it.
    `age` is how many seconds ago it was seen: the database's clock may differ from ours.
    """
    found = _OPENED.row(tx)
    return found is not None and float(found[0]) > float(found[1]) - age


def is_older(store: Store, witness: Witness) -> bool:
    """Compare with what the audit remembers, at the start."""
    with store.reading() as tx:
        return lacks(tx, witness)


def enter(store: Store) -> None:
    """Go into operator mode: newcomers need a grant made from now on, and each PIN is proven anew."""
    known = store.newest
    with store.deciding() as tx:
        tx.execute(update(meta).where(meta.c.name == "mode").values(value="operator"))
        tx.execute(update(grants).where(grants.c.until > db_now()).values(until=db_now()))
        tx.execute(update(gates).where(gates.c.state == "PROVEN").values(state="UNPROVEN"))
        judge(tx)
    store.when_committed(lambda: store.forget(known))
