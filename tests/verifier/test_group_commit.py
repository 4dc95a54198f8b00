"""Group commit: decisions that share a COMMIT are each whole or not at all, and none is told before it is durable."""

import asyncio
import contextlib
import json
import resource
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event, select

from hsm_verifier.aside import Threads
from hsm_verifier.audit import Audit, Entry
from hsm_verifier.chain import AuditError, verify
from hsm_verifier.ledger import desk
from hsm_verifier.ledger.clerk import ManyWriters, OneWriter
from hsm_verifier.ledger.schema import owners, slots
from hsm_verifier.ledger.store import Store
from hsm_verifier.scribe import Scribe
from hsm_verifier.service import Reply, Service
from hsm_verifier.turns import take_turn
from tests.verifier.party import Asker, Party

SOURCE = "192.0.2.7"
UNAVAILABLE = "V15 ledger_unavailable"


@pytest.fixture
def clerk(store: Store) -> Iterator[OneWriter]:
    made = OneWriter(store)
    yield made
    made.close()


@pytest.fixture
def service(party: Party, clerk: OneWriter) -> Iterator[Service]:
    scribe = Scribe(party.audit)
    yield Service(replace(party.world, clerk=clerk), scribe)
    scribe.close()


@pytest.fixture
def commits(store: Store) -> Counter[str]:
    """How often a transaction that wrote was committed."""
    counted: Counter[str] = Counter()
    event.listen(store.engine, "commit", lambda connection: counted.update([connection.dialect.name]))
    return counted


def at_once(service: Service, bodies: list[bytes]) -> list[Reply]:
    """Ask all at the same time."""

    async def run() -> list[Reply]:
        async with asyncio.timeout(30):
            return await asyncio.gather(*(take_turn(lambda one=one: service.enrol(one, SOURCE)) for one in bodies))  # type: ignore[misc]  # a default that binds

    return asyncio.run(run())


def askers(party: Party, count: int) -> list[Asker]:
    return [party.asker(f"i-{number:017x}") for number in range(count)]


def slots_of(store: Store) -> set[str]:
    return {line.instance_id for line in desk.list_slots(store)}


@contextlib.contextmanager
def no_file_grows() -> Iterator[None]:
    """A full disk, as far as this process can tell."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_many_at_once_share_commits_and_each_has_its_slot(
    party: Party, service: Service, store: Store, published: int, commits: Counter[str]
) -> None:
    fleet = askers(party, 40)
    replies = at_once(service, [one.ask() for one in fleet])
    assert {reply.status for reply in replies} == {200}
    assert slots_of(store) == {one.instance_id for one in fleet}
    # One that reads and one that takes a slot, each for itself, would be 80.
    assert commits["sqlite"] < 40 + 20
    told = [json.loads(line) for line in (party.folder / "audit.jsonl").read_text().splitlines()]
    assert {line["instance"] for line in told} == {one.instance_id for one in fleet}
    assert verify(party.folder / "audit.jsonl").n == 40
    assert published


def test_a_refusal_in_the_middle_undoes_its_own_part_only(
    party: Party, service: Service, store: Store, published: int
) -> None:
    first, *others = askers(party, 8)
    assert at_once(service, [first.ask()])[0].status == 200
    thief = party.asker(first.instance_id)  # another key for an instance that was served
    replies = at_once(service, [one.ask() for one in (*others[:4], thief, *others[4:])])
    assert [reply.status for reply in replies] == [200] * 4 + [409] + [200] * 3
    assert slots_of(store) == {one.instance_id for one in (first, *others)}
    with store.reading() as tx:  # the thief's key was bound before it was refused
        assert tx.execute(select(owners).where(owners.c.thumbprint == thief.jwk.thumbprint)).first() is None
    assert published


def test_one_instance_asking_with_two_keys_at_once_is_served_once(
    party: Party, service: Service, store: Store, published: int
) -> None:
    bodies = [party.asker("i-0000000000000aaaa").ask() for _ in range(6)]
    assert sorted(reply.status for reply in at_once(service, bodies)) == [200] + [409] * 5
    with store.reading() as tx:
        assert len(tx.execute(select(slots)).all()) == 1
    assert published


def test_v15_a_disk_that_is_full_at_the_commit_decides_nothing_for_any_of_them(
    party: Party, service: Service, store: Store, published: int
) -> None:
    fleet = askers(party, 12)
    bodies = [one.ask() for one in fleet]
    with no_file_grows():
        replies = at_once(service, bodies)
    # Neither ledger nor audit could be written: each hears that it was not decided.
    assert {reply.status for reply in replies} == {503}
    assert slots_of(store) == set()
    assert store.newest is None
    assert {reply.status for reply in at_once(service, bodies)} == {200}
    assert slots_of(store) == {one.instance_id for one in fleet}
    assert verify(party.folder / "audit.jsonl").n == 12
    assert published


def test_v15_a_database_that_fails_in_one_part_decides_nothing_for_the_others_either(
    party: Party, clerk: OneWriter, store: Store, published: int
) -> None:
    """SQLite may have ended the whole transaction by itself: who came before must not be told that it was decided."""

    def fails(store: Store) -> None:
        with store.deciding() as tx:
            tx.exec_driver_sql("INSERT INTO owners VALUES ('thief', 'i-0', 0)")
            tx.exec_driver_sql("ROLLBACK")  # as SQLite does on SQLITE_FULL, SQLITE_IOERR and SQLITE_NOMEM
            tx.exec_driver_sql("SELECT * FROM nothing_of_that_name")

    def binds(name: str) -> str:
        def work(store: Store) -> str:
            with store.deciding() as tx:
                tx.execute(owners.insert().values(thumbprint=name, instance_id="i-1", since=0))
            store.when_committed(lambda: told.append(name))
            return name

        return clerk.write(work)

    told: list[str] = []

    async def run() -> list[object]:
        turns = [lambda: binds("before"), lambda: binds("with"), lambda: clerk.write(fails), lambda: binds("after")]
        return await asyncio.gather(*(take_turn(one) for one in turns), return_exceptions=True)

    first, *others = asyncio.run(run())
    assert first == "before"  # alone in the first go
    assert [str(one) for one in others] == [str(others[0])] * 3
    assert UNAVAILABLE in str(others[0])
    assert told == ["before"]
    with store.reading() as tx:
        assert tx.execute(select(owners.c.thumbprint)).scalars().all() == ["before"]
    assert published


def test_lg5_what_is_remembered_is_remembered_after_the_commit(store: Store) -> None:
    told: list[str] = []
    with store.together():
        with store.deciding():
            store.when_committed(lambda: told.append("committed"))
        assert told == []
    assert told == ["committed"]
    with store.deciding():
        pass
    store.when_committed(lambda: told.append("alone"))
    assert told == ["committed", "alone"]


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_postgresql_has_a_transaction_for_each_in_threads(party: Party, store: Store, published: int) -> None:
    threads = Threads(8, "ask")
    clerk = ManyWriters(store, threads)
    service = Service(replace(party.world, clerk=clerk), Scribe(party.audit))
    fleet = askers(party, 12)
    again = party.asker(fleet[0].instance_id)
    replies = at_once(service, [one.ask() for one in (*fleet, again)])
    assert Counter(reply.status for reply in replies) == {200: 12, 409: 1}
    assert slots_of(store) == {one.instance_id for one in fleet}
    threads.close()
    clerk.close()
    assert published


def test_lines_that_are_written_together_are_a_chain(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl")
    entries = [Entry(event="enrolment", now=1000.0, facts={"instance": f"i-{number}"}) for number in range(5)]
    heads = audit.write_all(entries)
    assert [head.n for head in heads] == [1, 2, 3, 4, 5]
    assert verify(tmp_path / "audit.jsonl") == heads[-1]
    assert verify(tmp_path / "audit.jsonl", heads[2].hash) == heads[-1]


def test_lines_that_a_full_disk_took_half_of_are_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    head = audit.write("start", 1000.0)
    entries = [Entry(event="enrolment", now=1001.0, facts={"instance": f"i-{number}"}) for number in range(5)]
    size = path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200, before[1]))  # room for one line and a piece of the next
    try:
        with pytest.raises(OSError, match="could not be written whole"):
            audit.write_all(entries)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert verify(path) == head
    assert audit.write("stop", 1002.0).n == 2
    with pytest.raises(AuditError):
        verify(path, "0" * 64)
