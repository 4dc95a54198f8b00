"""LG5: a ledger restored from a backup is found out, by the audit at the start and by a running verifier itself."""

import contextlib
import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import delete

from hsm_verifier.__main__ import main
from hsm_verifier.audit import Audit
from hsm_verifier.cli.common import open_store
from hsm_verifier.cli.serve import guard_restore
from hsm_verifier.ledger import desk, engines, receipts, restored
from hsm_verifier.ledger.receipts import Note
from hsm_verifier.ledger.rows import Claim
from hsm_verifier.ledger.schema import instances, owners, slots
from hsm_verifier.ledger.store import Store
from hsm_verifier.ledger.take import Taken, take
from hsm_verifier.refusal import Refusal
from hsm_verifier.settings import load_settings
from lab.postgres import Postgres
from tests.verifier.claims import GATE, SERIAL, claim
from tests.verifier.party import AUDIENCE, NONCE_KEY


def ask(store: Store, wanted: Claim) -> str:
    try:
        found = take(store, wanted, lambda state, _trial: state.encode())
    except Refusal as refusal:
        return f"{refusal.reason} {refusal.detail}" + ("!" if refusal.alarm else "")
    return found.how if isinstance(found, Taken) else "held"


@pytest.fixture
def served(postgres: Postgres, tmp_path: Path) -> Store:
    """A ledger on PostgreSQL that has served one; the fixture's user closes it."""
    made = Store(postgres.create(tmp_path.name))
    made.create(audience=AUDIENCE, nonce_key=NONCE_KEY)
    assert ask(made, claim(1)) == "new"
    return made


def test_a_running_verifier_finds_out_when_its_database_is_replaced_by_a_backup(
    served: Store, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "FRESH", 0.0)  # its connections lie while a backup is brought back
    backup = postgres.dump(tmp_path.name)
    assert ask(served, claim(2)) == "new"
    assert ask(served, claim(1)) == "again"  # the backup knows this one: it proves nothing
    postgres.restore(tmp_path.name, backup)
    # The instance that the backup forgot comes with another key: it must not get a second bundle.
    assert ask(served, claim(2, "thief")) == "busy LG5 ledger_is_an_older_copy!"
    assert served.mode() == "operator"
    assert ask(served, claim(2, "thief")) == "already_enrolled LG5 operator_mode!"
    assert ask(served, claim(1)) == "again"
    desk.make_grant(served, claim(2).instance_id, count=1, seconds=60, reason="it is ours", owner=None)
    assert ask(served, claim(2)) == "granted"
    served.close()


@pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)
def test_lg5_a_backup_that_is_written_into_the_database_under_a_running_verifier_is_found_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `pg_restore --clean` and sqlite3's `.restore` do it: no connection breaks."""
    monkeypatch.setattr(restored, "LOOKED_AT", 0.0)
    for number in (1, 2, 3):
        assert ask(store, claim(number)) == "new"
    with store.deciding() as tx:
        for table in (slots, instances, owners):
            tx.execute(delete(table).where(table.c.instance_id == claim(3).instance_id))
    assert ask(store, claim(3, "thief")) == "busy LG5 ledger_is_an_older_copy!"
    assert ask(store, claim(3, "thief")) == "already_enrolled LG5 operator_mode!"


def test_lg5_a_connection_is_looked_at_once_a_second(store: Store) -> None:
    assert ask(store, claim(1)) == "new"
    asked: list[str] = []
    with store.reading() as tx:
        tx.connection.driver_connection.set_trace_callback(asked.append)  # type: ignore[union-attr]
    for _ in range(4):
        ask(store, claim(1))
    assert sum("owners.instance_id" in one and one.startswith("SELECT") for one in asked) == 1


@pytest.mark.parametrize("opened", [False, True])
def test_lg5_what_one_verifier_found_out_the_next_does_not_find_out_again(
    served: Store, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, opened: bool
) -> None:
    """The grants that were made because of it would end, and a ledger that was opened would be closed again."""
    monkeypatch.setattr(engines, "FRESH", 0.0)
    second, backup = Store(served.url.render_as_string()), postgres.dump(tmp_path.name)
    assert ask(served, claim(2)) == ask(second, claim(3)) == "new"
    postgres.restore(tmp_path.name, backup)
    assert ask(served, claim(2, "thief")) == "busy LG5 ledger_is_an_older_copy!"
    desk.make_grant(served, claim(2).instance_id, count=1, seconds=60, reason="it is ours", owner=claim(2).owner)
    if opened:
        served.set_mode("open")
    assert ask(second, claim(2)) == ("new" if opened else "granted")
    assert ask(second, claim(4)) == ("new" if opened else "already_enrolled LG5 operator_mode!")
    assert second.mode() == ("open" if opened else "operator")
    # A second backup is another matter.
    backup = postgres.dump(tmp_path.name)
    desk.make_grant(second, claim(5).instance_id, count=1, seconds=60, reason="it is ours", owner=claim(5).owner)
    assert ask(second, claim(5)) == ("new" if opened else "granted")
    postgres.restore(tmp_path.name, backup)
    assert ask(second, claim(5, "thief")) == "busy LG5 ledger_is_an_older_copy!"
    assert second.mode() == "operator"
    second.close()
    served.close()


@pytest.mark.parametrize("by_audit", [False, True])
def test_lg5_a_grant_that_gives_a_key_what_it_had_before_proves_nothing(
    served: Store, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_audit: bool
) -> None:
    monkeypatch.setattr(engines, "FRESH", 0.0)
    receipts.note(served, installed(claim(1)))
    audit = Audit(tmp_path / "audit.jsonl")
    backup = postgres.dump(tmp_path.name)
    assert ask(served, claim(2)) == "new"
    note_answer(audit, 2, "new")
    desk.make_grant(served, claim(1).instance_id, count=1, seconds=60, reason="rebuilt", owner=None)
    found = take(served, claim(1), lambda state, _trial: state.encode())
    assert isinstance(found, Taken)
    assert (found.how, found.repeated) == ("granted", True)
    note_answer(audit, 1, "granted", repeated=True)
    asked = Store(served.url.render_as_string()) if by_audit else served
    if by_audit:
        guard_restore(asked, audit, tmp_path / "audit.jsonl")
    postgres.restore(tmp_path.name, backup)
    assert ask(asked, claim(2, "thief")) == "busy LG5 ledger_is_an_older_copy!"
    asked.close()
    served.close()


def test_one_that_has_answered_nobody_since_its_start_knows_it_by_the_audit(
    served: Store, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "FRESH", 0.0)
    backup = postgres.dump(tmp_path.name)
    assert ask(served, claim(2)) == "new"
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    note_answer(audit, 2, "new")
    started = Store(served.url.render_as_string())
    guard_restore(started, audit, path)
    assert started.mode() == "open"
    postgres.restore(tmp_path.name, backup)
    assert ask(started, claim(2, "thief")) == "busy LG5 ledger_is_an_older_copy!"
    assert started.mode() == "operator"
    started.close()
    served.close()


def installed(wanted: Claim, pin: str = "unused") -> Note:
    return Note(
        instance_id=wanted.instance_id,
        owner=wanted.owner,
        serial=SERIAL,
        nonce=wanted.nonce,
        result="installed",
        code=None,
        pin=pin,
    )


def note_answer(audit: Audit, number: int, how: str, *, repeated: bool | None = None) -> None:
    """Write the audit's line of an answer, as the service does."""
    audit.write(
        "enrolment",
        time.time(),
        outcome="answered",
        how=how,
        repeated=repeated,
        instance=claim(number).instance_id,
        owner=claim(number).owner,
        serial=SERIAL,
    )


def test_what_a_backup_must_not_bring_back(served: Store) -> None:
    """A grant used since would be usable again, a PIN refused since would be proven again."""
    desk.make_grant(served, claim(1).instance_id, count=1, seconds=3600, reason="rebuilt", owner=None)
    first = claim(3, gate=GATE)
    assert ask(served, first) == "new"
    assert "proven" in receipts.note(served, installed(first, "accepted")).effect
    restored.enter(served)
    assert ask(served, claim(1, "thief")).startswith("already_enrolled")
    assert [line.state for line in desk.list_gates(served)] == ["UNPROVEN"]
    served.close()


@dataclass
class Site:
    """A verifier's folder with its ledger file, and its command line."""

    folder: Path
    run: Callable[..., int]

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.sqlite"

    def serve(self, number: int, how: str) -> None:
        """Serve one and write its audit line, as the service does."""
        store = open_store(load_settings(self.folder / "hsm-verifier.toml"))
        assert ask(store, claim(number)) == how
        store.close()
        note_answer(Audit(self.folder / "audit.jsonl"), number, how)

    def start(self) -> str:
        """What a start finds; gives the mode."""
        path = self.folder / "audit.jsonl"
        store = open_store(load_settings(self.folder / "hsm-verifier.toml"))
        guard_restore(store, Audit(path), path)
        mode = store.mode()
        store.close()
        return mode

    def backup(self, to: Path) -> None:
        with contextlib.closing(sqlite3.connect(self.ledger)) as here, contextlib.closing(sqlite3.connect(to)) as there:
            here.backup(there)

    def restore(self, backup: Path) -> None:
        for leftover in self.folder.glob("ledger.sqlite-*"):
            leftover.unlink()
        shutil.copy(backup, self.ledger)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    folder = tmp_path / "vp"
    assert main(["init", str(folder)]) == 0
    return Site(folder=folder, run=lambda *words: main([*words, "--config", str(folder / "hsm-verifier.toml")]))


def test_a_start_finds_out_by_the_newest_slot_even_if_older_ones_answered_last(site: Site, tmp_path: Path) -> None:
    site.serve(1, "new")
    site.backup(tmp_path / "backup")
    site.serve(2, "new")
    site.serve(1, "again")
    assert site.start() == "open"
    site.restore(tmp_path / "backup")
    assert site.start() == "operator"
    assert site.start() == "operator"
    log = [json.loads(line) for line in (site.folder / "audit.jsonl").read_text().splitlines()]
    assert [(one["instance"], one["alarm"]) for one in log if one["event"] == "restored_ledger"] == [
        (claim(2).instance_id, True)
    ]


def test_what_an_operator_has_judged_is_not_asked_again(site: Site, tmp_path: Path) -> None:
    site.backup(tmp_path / "backup")
    site.serve(1, "new")
    site.restore(tmp_path / "backup")
    assert site.start() == "operator"
    assert site.run("ledger", "mode", "open") == 0
    assert site.start() == "open"
    site.serve(2, "new")
    site.restore(tmp_path / "backup")
    assert site.start() == "operator"


def test_a_ledger_that_an_operator_opened_before_the_start_stays_open(site: Site, tmp_path: Path) -> None:
    site.backup(tmp_path / "backup")
    site.serve(1, "new")
    site.restore(tmp_path / "backup")
    assert site.run("ledger", "mode", "open") == 0
    assert site.start() == "open"


def test_lg5_what_was_seen_later_is_not_forgotten_with_what_was_judged(store: Store) -> None:
    store.remember("i-0000000a", SERIAL, "A" * 43)
    judged = store.newest
    store.remember("i-0000000b", SERIAL, "B" * 43)
    store.forget(judged)
    assert store.newest is not None
    assert store.newest.instance_id == "i-0000000b"
    store.forget(store.newest)
    assert store.newest is None


def test_an_operator_says_it_before_the_first_start(site: Site) -> None:
    site.serve(1, "new")
    assert site.run("ledger", "restored") == 0
    assert site.start() == "operator"
    assert '"told_by":"operator"' in (site.folder / "audit.jsonl").read_text()
