"""LG5 where a standby takes over: a connection that it had as a standby is asked again once it is the ledger."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsm_verifier.ledger import engines
from hsm_verifier.ledger.store import Store
from lab.postgres import Postgres
from tests.verifier.claims import claim
from tests.verifier.party import AUDIENCE, NONCE_KEY
from tests.verifier.test_ledger_restored import ask

LAGGING = (
    "cp -a --no-target-directory {data} {copy} && touch {copy}/standby.signal && chown --reference={data} {copy}/*"
)
OLDER = "busy LG5 ledger_is_an_older_copy!"
AWAY = "busy V15 ledger_unavailable!"


class Address:
    """Where a ledger is: at one server now, at another later, as a name in DNS or a list of hosts is."""

    def __init__(self, folder: Path) -> None:
        """Lead nowhere yet."""
        self._socket = folder / ".s.PGSQL.5432"
        self.url = f"postgresql://hsm@/ledger?host={folder}&port=5432"

    def lead_to(self, server: Postgres) -> None:
        """Lead whoever connects from now on to this server."""
        self._socket.unlink(missing_ok=True)
        self._socket.symlink_to(server.folder / f".s.PGSQL.{server.port}")


@pytest.fixture
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    """The first serves a ledger; the second has not been started."""
    with Postgres() as first:
        first.create("ledger")
        second = Postgres()
        yield first, second
        second.remove()


def follow(first: Postgres, second: Postgres) -> None:
    """Let the second be a standby of the first that gets nothing of what comes from now on."""
    first.stop()
    data, copy = first.folder / "data", second.folder / "data"
    subprocess.run(["rm", "-r", str(copy)], check=True)
    subprocess.run(["sh", "-c", LAGGING.format(data=data, copy=copy)], check=True)
    first.start()
    second.start()


def test_a_standby_that_lagged_is_found_out_on_a_connection_from_before_it_took_over(
    servers: tuple[Postgres, Postgres], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "FRESH", 0.0)  # taking over takes time
    first, second = servers
    address = Address(tmp_path)
    address.lead_to(first)
    store = Store(address.url)
    store.create(audience=AUDIENCE, nonce_key=NONCE_KEY)
    assert ask(store, claim(1)) == "new"
    follow(first, second)
    store.engine.dispose()
    with store.reading():  # a connection to the first stays
        address.lead_to(second)
        assert ask(store, claim(2)) == AWAY  # and one to the standby, which has what was last seen committed
    assert [ask(store, claim(2)), ask(store, claim(2))] == [AWAY, "new"]
    first.stop()
    second.sql("SELECT pg_promote()")
    assert ask(store, claim(2, "thief")) == OLDER
    store.close()
