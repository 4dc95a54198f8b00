"""A COMMIT of which nothing is heard: nobody is answered, and who asks again finds what PostgreSQL made of it."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import text

from hsm_verifier.ledger.store import Store
from hsm_verifier.refusal import Refusal
from tests.verifier.test_ledger_postgresql import ANOTHER, CLAIM, ask, only_postgresql

SETTINGS = ("synchronous_commit", "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
INSISTED = ["on", "5s", "10s", "15s"]


class Between:
    """Stands between a ledger and PostgreSQL. `cut` says what becomes of the next COMMIT: its "way" or its "reply"."""

    def __init__(self, folder: Path, server: str) -> None:
        """Take the server's socket; listen in a folder of our own."""
        self.cut = ""
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._ends: list[socket.socket] = []
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        """Stand there inside a with block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Go, once all who were connected have gone."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                self._ends += [near, far]
                far.connect(self._server)
                lost = threading.Event()
                for ends in ((near, far, lost), (far, near, lost)):
                    self._threads.append(threading.Thread(target=self._carry, args=ends))
                    self._threads[-1].start()

    def _carry(self, here: socket.socket, there: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while (data := here.recv(65536)) and not lost.is_set():
                if b"COMMIT\0" in data and self.cut:
                    way, self.cut = self.cut, ""
                    lost.set()
                    if way == "way":
                        break
                there.sendall(data)
        for end in (here, there):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def between(store: Store, tmp_path: Path) -> Iterator[tuple[Between, Store]]:
    """A ledger's other door, and who stands in it."""
    query = store.url.query
    with Between(tmp_path, f"{query['host']}/.s.PGSQL.{query['port']}") as made:
        through = Store(f"postgresql://hsm@/{store.url.database}?host={tmp_path}&port=5432")
        yield made, through
        through.close()


@only_postgresql
@pytest.mark.parametrize(("cut", "then"), [("way", "new"), ("reply", "again")])
def test_a_commit_that_is_not_confirmed_is_busy_and_its_key_is_served_when_it_asks_again(
    between: tuple[Between, Store], cut: str, then: str
) -> None:
    door, store = between
    assert store.mode() == "open"  # there is a connection: making one has a COMMIT of its own
    door.cut = cut
    assert ask(store, CLAIM) == "busy"
    assert store.newest is None  # nothing was seen committed
    assert ask(store, replace(CLAIM, nonce="n3")) == then
    assert ask(store, ANOTHER) == "already_enrolled"


@only_postgresql
def test_what_a_session_insists_on_is_in_force_after_whatever_happened_to_it(
    between: tuple[Between, Store],
) -> None:
    door, store = between
    assert said(store) == INSISTED
    assert [ask(store, CLAIM), ask(store, ANOTHER)] == ["new", "already_enrolled"]
    assert said(store) == INSISTED
    with pytest.raises(Refusal):
        take_too_long(store)
    assert said(store) == INSISTED
    door.cut = "reply"
    assert ask(store, replace(CLAIM, nonce="n3")) == "busy"
    assert said(store) == INSISTED


def take_too_long(store: Store) -> None:
    with store.deciding() as tx:
        tx.execute(text("SET LOCAL statement_timeout = '20ms'"))
        tx.execute(text("SET synchronous_commit = off"))
        tx.execute(text("SELECT pg_sleep(1)"))


def said(store: Store) -> list[str]:
    """What holds inside a decision."""
    with store.deciding() as tx:
        assert tx.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
        return [str(tx.execute(text(f"SHOW {name}")).scalar_one()) for name in SETTINGS]
