"""Knows how to keep the operators' page of a made-up fleet running in a thread, at a moment that does not move."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hsm_verifier.admin.door import Door
from hsm_verifier.admin.listener import Listener
from hsm_verifier.admin.office import Office
from hsm_verifier.admin.place import place_of
from hsm_verifier.admin.recent import Recent
from hsm_verifier.admin.sessions import Sessions
from hsm_verifier.admin.tokens import Tokens
from hsm_verifier.admin.who import Porter
from hsm_verifier.audit import Audit
from hsm_verifier.cli.common import open_store, open_vault
from hsm_verifier.counts import Counts
from hsm_verifier.ledger.store import Store
from hsm_verifier.outside import open_policy
from hsm_verifier.published import Catalogue
from hsm_verifier.settings import Settings
from hsm_verifier.vault import Bundles
from lab.fleet import NOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """A running page: where, and what it looks at."""

    address: str
    settings: Settings
    store: Store
    vault: Bundles
    counts: Counts


@contextmanager
def running(settings: Settings, *, now: float = NOW, audience: str = "") -> Iterator[Operators]:
    """Serve until the block ends. `settings.admin` says where and for whom; `audience` is shown in place of its own."""
    store, vault, counts = open_store(settings), open_vault(settings), Counts()
    sessions = Sessions(time.monotonic)
    office = Office(
        audience=audience or settings.audience,
        store=store,
        catalogue=Catalogue(vault),
        recent=Recent(Path(settings.state.audit)),
        audit=Audit(Path(settings.state.audit)),
        counts=counts,
        policy=open_policy(settings),
        sessions=sessions,
        clock=lambda: now,
        tls_not_after=None,
        began=now - 86400,
    )
    tokens = Tokens(Path(settings.admin.tokens)) if settings.admin.tokens else None
    porter = Porter(sessions, tokens, may_act=frozenset(), may_read=frozenset())
    place = place_of(settings)
    listener = Listener(Door(office, porter, place).app(), place, lambda _address: None)
    loop, started = asyncio.new_event_loop(), threading.Event()
    ended: list[asyncio.Task[None]] = []

    def turn() -> None:
        asyncio.set_event_loop(loop)
        ended.append(loop.create_task(listener.run()))
        loop.call_soon(started.set)
        with_cancel = asyncio.gather(*ended, return_exceptions=True)
        loop.run_until_complete(with_cancel)
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=turn, name="operators' page")
    thread.start()
    started.wait(10)
    try:
        yield Operators(address=listener.address, settings=settings, store=store, vault=vault, counts=counts)
    finally:
        loop.call_soon_threadsafe(ended[0].cancel)
        thread.join(20)
        store.close()


def at(settings: Settings, listen: str, *, tokens: str = "") -> Settings:
    """Give settings whose page listens somewhere else."""
    return replace(settings, admin=replace(settings.admin, listen=listen, tokens=tokens))
