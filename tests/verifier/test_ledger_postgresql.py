"""What only PostgreSQL can do to a ledger: a second verifier waits inside ours, the server goes, TLS and passwords."""

import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, text

from hsm_verifier.__main__ import main
from hsm_verifier.ledger import desk, engines
from hsm_verifier.ledger.engines import parse_url
from hsm_verifier.ledger.rows import Claim
from hsm_verifier.ledger.schema import instances, slots
from hsm_verifier.ledger.store import LedgerError, Store
from hsm_verifier.ledger.take import Held, take
from hsm_verifier.refusal import Refusal
from lab.postgres import Postgres
from tests.verifier.claims import GATE, claim
from tests.verifier.party import AUDIENCE, NONCE_KEY
from tests.verifier.test_gate import report

only_postgresql = pytest.mark.parametrize("store", ["postgresql"], indirect=True)
CLAIM = claim(1)
ANOTHER = claim(1, "another")


def ask(store: Store, claim: Claim, make: Callable[[str, bool], bytes] = lambda state, _trial: state.encode()) -> str:
    try:
        found = take(store, claim, make)
    except Refusal as refusal:
        return refusal.reason
    return "held" if isinstance(found, Held) else "trial" if found.trial else found.how


def wait_for(condition: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(1000):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("it never came about")


def overlap(store: Store, other: Store, first: Claim, second: Claim) -> tuple[str, str]:
    """The first is about to commit when the second, at the other verifier, has run into it and waits."""
    inside, go_on = threading.Event(), threading.Event()

    def make(state: str, _trial: bool) -> bytes:  # noqa: FBT001  as take() calls it
        inside.set()
        go_on.wait(10)
        return state.encode()

    def waits() -> bool:
        with store.reading() as tx:
            return bool(tx.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(ask, store, first, make)
        assert inside.wait(10)
        two = pool.submit(ask, other, second)
        wait_for(waits)
        go_on.set()
        return one.result(10), two.result(10)


@only_postgresql
def test_a_second_key_that_waits_for_the_first_finds_the_slot_taken(store: Store, other: Store) -> None:
    assert overlap(store, other, CLAIM, ANOTHER) == ("new", "already_enrolled")


@only_postgresql
def test_the_same_key_that_waits_for_itself_is_served_again(store: Store, other: Store) -> None:
    assert overlap(store, other, CLAIM, replace(CLAIM, nonce="n2")) == ("new", "again")


@only_postgresql
def test_v13_who_waits_for_the_trial_is_held(store: Store, other: Store) -> None:
    second = replace(ANOTHER, instance_id="i-0fedcba9876543210", gate=GATE)
    assert overlap(store, other, replace(CLAIM, gate=GATE), second) == ("trial", "held")


@only_postgresql
def test_v13_a_refused_pin_halts_the_gate_whoever_is_under_way(store: Store, other: Store) -> None:
    first, second, third = (claim(number, gate=GATE) for number in (1, 2, 3))
    inside, go_on = threading.Event(), threading.Event()

    def make(state: str, _trial: bool) -> bytes:  # noqa: FBT001  as take() calls it
        inside.set()
        go_on.wait(10)
        return state.encode()

    assert ask(store, first) == "trial"
    assert "proven" in report(store, first, "installed", "accepted")
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(ask, store, second, make)
        assert inside.wait(10)
        try:
            assert "halted" in report(other, first, "failed", "refused")
            assert ask(other, third) == "held"
        finally:
            go_on.set()
        assert under_way.result(10) == "new"


@only_postgresql
def test_o6_a_grant_for_one_is_gone_for_who_waits(store: Store, other: Store) -> None:
    store.set_mode("operator")
    desk.make_grant(store, CLAIM.instance_id, count=1, seconds=60, reason="restored", owner=None)
    assert overlap(store, other, CLAIM, ANOTHER) == ("granted", "already_enrolled")


@only_postgresql
def test_o6_of_two_granted_at_once_the_later_owns_the_slot(store: Store, other: Store) -> None:
    store.set_mode("operator")
    desk.make_grant(store, CLAIM.instance_id, count=2, seconds=60, reason="restored", owner=None)
    assert overlap(store, other, CLAIM, ANOTHER) == ("granted", "granted")
    with store.reading() as tx:
        assert tuple(tx.execute(select(instances.c.owner, slots.c.nonce).join(slots)).one()) == (
            ANOTHER.owner,
            ANOTHER.nonce,
        )


@only_postgresql
def test_many_workers_share_a_few_connections(store: Store) -> None:
    busy = Store(store.url.render_as_string(), pool=64)
    claims = [claim(number) for number in range(60)]
    with ThreadPoolExecutor(60) as pool:
        assert set(pool.map(lambda claim: ask(busy, claim), claims)) == {"new"}
    with store.reading() as tx:
        here = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert tx.execute(here).scalar_one() <= 18
    busy.close()


@only_postgresql
def test_who_waits_too_long_is_told_busy_and_nothing_was_decided(store: Store, other: Store) -> None:
    with store.deciding() as tx:
        tx.execute(text("LOCK TABLE owners IN EXCLUSIVE MODE"))
        with pytest.raises(Refusal) as caught:
            insert_impatiently(other)
    assert (caught.value.reason, caught.value.detail, caught.value.status) == ("busy", "V15 ledger_unavailable", 503)
    assert ask(other, CLAIM) == "new"


def insert_impatiently(store: Store) -> None:
    with store.deciding() as tx:
        tx.execute(text("SET LOCAL lock_timeout = '50ms'"))
        tx.execute(text("INSERT INTO owners VALUES ('t', 'i', 0)"))


@only_postgresql
def test_each_decision_keeps_what_it_commits_whatever_the_server_would_do_by_itself(store: Store) -> None:
    with store.reading() as tx:
        name = tx.execute(text("SELECT current_database()")).scalar_one()
    with store.deciding() as tx:
        tx.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_isolation = serializable'))
    store.close()  # whoever connects from now on begins like that
    try:
        with store.deciding() as tx:
            said = {
                name: tx.execute(text(f"SHOW {name}")).scalar_one()
                for name in ("synchronous_commit", "transaction_isolation", "lock_timeout")
            }
        assert said == {"synchronous_commit": "on", "transaction_isolation": "read committed", "lock_timeout": "5s"}
    finally:
        with store.deciding() as tx:
            tx.execute(text(f'ALTER DATABASE "{name}" RESET default_transaction_isolation'))


@only_postgresql
def test_options_of_the_address_are_used_and_undo_nothing_that_decisions_need(store: Store) -> None:
    more = {"options": "-c search_path=hsm -c synchronous_commit=off"}
    theirs = Store(store.url.update_query_dict(more).render_as_string())
    with theirs.reading() as tx:
        said = [tx.execute(text(f"SHOW {name}")).scalar_one() for name in ("search_path", "synchronous_commit")]
    theirs.close()
    assert said == ["hsm", "on"]


@only_postgresql
def test_who_decides_has_a_transaction_and_who_reads_has_none(store: Store, other: Store) -> None:
    ours = text("SELECT state FROM pg_stat_activity WHERE pid = :pid")
    states = []
    for block in (store.deciding, store.reading):
        with block() as tx, other.reading() as looking:
            pid = tx.execute(text("SELECT pg_backend_pid()")).scalar_one()
            states.append(looking.execute(ours, {"pid": pid}).scalar_one())
    assert states == ["idle in transaction", "idle"]


def end_connections(store: Store, other: Store) -> None:
    """Let PostgreSQL end whatever connection of `store` nobody uses now."""
    here = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with other.reading() as tx:
        assert tx.execute(text(f"SELECT pg_terminate_backend(pid) {here}")).all() == [(True,)]
    wait_for(lambda: counted(other, f"SELECT count(*) {here}") == 0)
    assert store.engine.pool.checkedin() == 1  # type: ignore[attr-defined]  # a QueuePool has it


def counted(store: Store, what: str) -> int:
    with store.reading() as tx:
        return int(tx.execute(text(what)).scalar_one())


@only_postgresql
def test_a_connection_that_died_while_it_lay_is_noticed_before_it_is_used(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "FRESH", 0.0)
    assert store.mode() == "open"
    end_connections(store, other)
    assert ask(store, CLAIM) == "new"


@only_postgresql
def test_one_that_died_a_moment_after_it_was_used_is_busy_once(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "FRESH", 3600.0)
    assert store.mode() == "open"
    end_connections(store, other)
    assert (ask(store, CLAIM), ask(store, CLAIM)) == ("busy", "new")


def test_a_server_that_went_is_busy_and_one_that_came_back_is_used_again() -> None:
    with Postgres() as server:
        store = Store(server.create("ledger"))
        store.create(audience=AUDIENCE, nonce_key=NONCE_KEY)
        assert ask(store, CLAIM) == "new"
        server.stop()
        assert (ask(store, ANOTHER), reads(store)) == ("busy", "busy")
        with pytest.raises(LedgerError, match="cannot be opened"):
            store.prove_ours(audience=AUDIENCE, nonce_key=NONCE_KEY)
        server.start()
        store.prove_ours(audience=AUDIENCE, nonce_key=NONCE_KEY)
        assert ask(store, ANOTHER) == "already_enrolled"
        assert store.mode() == "open"  # LG5: a restart is no restore
        store.close()


def test_a_server_that_vanishes_while_its_reply_is_awaited_is_given_up_within_seconds(postgres: Postgres) -> None:
    postgres.create("far_away")
    store = Store(postgres.tls_url("far_away"), password=postgres.password)
    with store.reading() as tx, socket.socket(fileno=os.dup(tx.connection.driver_connection.pgconn.socket)) as line:  # type: ignore[union-attr]  # psycopg's
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, pause, count = (
            line.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
    store.close()
    assert idle + pause * count <= 15


def reads(store: Store) -> str:
    try:
        return store.mode()
    except Refusal as refusal:
        return refusal.reason


def test_init_then_a_ledger_over_tls_with_a_password_from_a_file(
    postgres: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "vp"
    assert main(["init", str(folder)]) == 0
    postgres.create("over_tls")
    config = folder / "hsm-verifier.toml"
    lines = [
        f'ledger = "{postgres.tls_url("over_tls")}"\nledger_password = "secrets/ledger.password"'
        if line.startswith("ledger =")
        else line
        for line in config.read_text().splitlines()
    ]
    config.write_text("\n".join(lines))
    secret = folder / "secrets" / "ledger.password"
    secret.touch(0o600)
    secret.write_text("wrong\n")

    def run(*words: str) -> int:
        return main([*words, "--config", str(config)])

    assert run("ledger", "create") == 69
    secret.write_text(postgres.password + "\n")
    capsys.readouterr()
    assert run("ledger", "list") == 69
    assert "ledger create" in capsys.readouterr().err
    assert run("ledger", "create") == 0
    assert run("ledger", "create") == 69
    assert run("ledger", "mode") == 0
    said = capsys.readouterr()
    assert "holds a ledger already" in said.err
    assert said.out.endswith("open\n")
    assert postgres.password not in said.out + said.err + (folder / "audit.jsonl").read_text()
    assert postgres.sql("SELECT value FROM meta WHERE name = 'audience'", "over_tls").startswith("hsm-enrol:")


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("postgresql://hsm:canary@db/ledger", "no password in the URL"),
        ("postgresql://hsm@db/ledger?password=canary", "no password in the URL"),
        ("mysql://hsm@db/ledger", "sqlite:///PATH or postgresql://"),
        ("ledger.sqlite", "not a database URL"),
        ("postgresql://db.example:port/ledger", "not a database URL"),
    ],
)
def test_a_ledger_url_that_cannot_be_used_says_why_and_shows_no_secret(url: str, what: str) -> None:
    with pytest.raises(LedgerError, match=what) as caught:
        parse_url(url)
    assert "canary" not in str(caught.value)
