"""Many verifiers on one PostgreSQL want the same slots while some are killed and connections end: one owner each."""

import multiprocessing
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select, text

from hsm_verifier.ledger import desk
from hsm_verifier.ledger.rows import Claim
from hsm_verifier.ledger.schema import owners as bound
from hsm_verifier.ledger.store import Store
from tests.verifier.claims import GATE, claim
from tests.verifier.test_ledger_races import ask

VERIFIERS = 4
THREADS = 3
INSTANCES = 60
TRIES = 100
SERVED = {"new", "again"}


def enrol_all(url: str, heard: str, verifier: int) -> None:
    """What one verifier does: a thread each for its own keys, which ask for every instance until told yes or no.

    What was answered is written down at once, as a client would have it: `instance key how`.
    """
    store = Store(url)
    note = os.open(heard, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def enrol(thread: int) -> None:
        key = f"v{verifier}t{thread}"
        for number in range(INSTANCES):
            wanted = claim(number, key, gate=replace(GATE, pin_id=f"pin-{number:08d}") if number % 4 == 0 else None)
            how = until_decided(store, wanted)
            os.write(note, f"{number} {key} {how}\n".encode())

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(enrol, range(THREADS)))
    store.close()


def until_decided(store: Store, wanted: Claim) -> str:
    for _ in range(TRIES):
        how = ask(store, wanted)
        if how != "busy":
            return how
        time.sleep(0.01)
    raise AssertionError("always busy")


def heard_enough(heard: Path, count: int) -> bool:
    return len(heard.read_text().splitlines()) >= count


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came about")


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
def test_nobody_is_served_twice_while_verifiers_are_killed_and_connections_end(store: Store, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    heard = tmp_path / "heard"
    heard.touch()
    words = [(store.url.render_as_string(), str(heard), number) for number in range(VERIFIERS)]
    running = [context.Process(target=enrol_all, args=one) for one in words]
    for one in running:
        one.start()

    for victim in running[:2]:
        enough = len(heard.read_text().splitlines()) + VERIFIERS * THREADS * INSTANCES // 6
        wait_for(partial(heard_enough, heard, enough))
        os.kill(victim.pid or 0, signal.SIGKILL)
        end_all_others(store)
    for one in running:
        one.join(60)
    assert [one.exitcode for one in running] == [-signal.SIGKILL] * 2 + [0] * (VERIFIERS - 2)

    keys: dict[int, set[str]] = defaultdict(set)
    trials: dict[int, int] = defaultdict(int)
    for line in heard.read_text().splitlines():
        number, key, how = int(line.split()[0]), *line.split()[1:]
        if how in SERVED | {"trial"}:
            keys[number].add(claim(number, key).owner)
            trials[number] += how == "trial"
    owners = {line.instance_id: line.owner for line in desk.list_slots(store)}
    assert len(owners) == INSTANCES
    with store.reading() as tx:  # and nothing is left of decisions that were refused or came to no end
        assert set(tx.execute(select(bound.c.thumbprint)).scalars()) == set(owners.values())
    for number, served in keys.items():
        assert served == {owners[claim(number, "").instance_id]}
    assert all(count <= 1 for count in trials.values())
    assert len(keys) > INSTANCES // 2


def end_all_others(store: Store) -> None:
    """Let PostgreSQL end every other connection, some of them in the middle of a decision."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with store.reading() as tx:
        tx.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))
