"""Two verifiers on one ledger: whatever they do at one moment, there is one trial, one slot, one use of a grant."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select

from hsm_verifier.ledger import desk, receipts
from hsm_verifier.ledger.receipts import Note
from hsm_verifier.ledger.rows import Claim
from hsm_verifier.ledger.schema import grants, slots
from hsm_verifier.ledger.store import Store
from hsm_verifier.ledger.take import Held, take
from hsm_verifier.refusal import Refusal
from tests.verifier.claims import GATE, SERIAL, claim

pytestmark = pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)

RACERS = 8
ROUNDS = 6


def ask(store: Store, wanted: Claim) -> str:
    try:
        found = take(store, wanted, lambda state, _trial: state.encode())
    except Refusal as refusal:
        return refusal.reason
    if isinstance(found, Held):
        return "halted" if found.halted else "held"
    return "trial" if found.trial else found.how


def race(store: Store, other: Store, claims: list[Claim], act: Callable[[Store, Claim], str] = ask) -> Counter[str]:
    """Let all claims act at one moment, turn about at the two verifiers; counts what came of it."""
    together = threading.Barrier(len(claims))

    def run(place: int) -> str:
        together.wait(10)
        return act((store, other)[place % 2], claims[place])

    with ThreadPoolExecutor(len(claims)) as pool:
        return Counter(pool.map(run, range(len(claims))))


def test_lg1_one_slot_many_keys_one_owner(store: Store, other: Store) -> None:
    for number in range(ROUNDS):
        claims = [claim(number, f"k{racer}") for racer in range(RACERS)]
        assert race(store, other, claims) == {"new": 1, "already_enrolled": RACERS - 1}
    with store.reading() as tx:
        assert len(tx.execute(select(slots)).all()) == ROUNDS


def test_one_key_asking_at_both_verifiers_is_served_by_both_and_owns_one_slot(store: Store, other: Store) -> None:
    claims = [claim(1, nonce=f"n{racer}") for racer in range(RACERS)]
    assert race(store, other, claims) == {"new": 1, "again": RACERS - 1}
    (line,) = desk.list_slots(store)
    assert line.owner == claims[0].owner


def test_lg4_one_key_shown_by_many_instances_at_once_belongs_to_one(store: Store, other: Store) -> None:
    for number in range(ROUNDS):
        claims = [claim(number * 100 + racer, owner=f"{number:043d}") for racer in range(RACERS)]
        assert race(store, other, claims) == {"new": 1, "not_admitted": RACERS - 1}


def test_v13_one_trial_however_many_ask_at_both(store: Store, other: Store) -> None:
    for number in range(ROUNDS):
        key = replace(GATE, pin_id=f"pin-{number:08d}")
        claims = [claim(number * 100 + racer, "k", gate=key) for racer in range(RACERS)]
        assert race(store, other, claims) == {"trial": 1, "held": RACERS - 1}


@pytest.mark.parametrize("known", [True, False])
def test_o6_a_grant_for_one_is_used_by_one(store: Store, other: Store, *, known: bool) -> None:
    if known:
        assert ask(store, claim(1, "first")) == "new"
    else:
        store.set_mode("operator")
    desk.make_grant(store, claim(1, "").instance_id, count=1, seconds=60, reason="rebuilt", owner=None)
    claims = [claim(1, f"k{racer}") for racer in range(RACERS)]
    assert race(store, other, claims) == {"granted": 1, "already_enrolled": RACERS - 1}
    with store.reading() as tx:
        assert tx.execute(select(grants.c.remaining)).scalar_one() == 0


def test_o6_a_grant_is_used_or_withdrawn_and_never_both(store: Store, other: Store) -> None:
    for number in range(ROUNDS):
        first = claim(number, "first")
        assert ask(store, first) == "new"
        desk.make_grant(store, first.instance_id, count=1, seconds=60, reason="wrong host", owner=None)

        def act(at: Store, wanted: Claim, mine: Claim = first) -> str:
            return f"{desk.withdraw(at, mine.instance_id)} withdrawn" if wanted is mine else ask(at, wanted)

        came = race(store, other, [first, *(claim(number, f"k{racer}") for racer in range(1, RACERS))], act)
        assert came["granted"] + came["1 withdrawn"] == 1, came
        assert came["already_enrolled"] == RACERS - 1 - came["granted"]
        assert desk.open_grants(other, first.instance_id) == 0
        assert ask(other, claim(number, "late")) == "already_enrolled"


def test_v13_trying_and_the_next_trial_never_both(store: Store, other: Store) -> None:
    """The first trial's `trying` races with others asking: as long as its lease holds, nobody else gets the PIN."""
    for number in range(ROUNDS):
        key = replace(GATE, pin_id=f"pin-{number:08d}")
        first = claim(number * 100, "k", gate=key)
        assert ask(store, first) == "trial"

        def act(at: Store, wanted: Claim, mine: Claim = first) -> str:
            return trying(at, mine) if wanted is mine else ask(at, wanted)

        claims = [first, *(claim(number * 100 + racer, "k", gate=key) for racer in range(1, RACERS))]
        assert race(store, other, claims, act) == {"noted": 1, "held": RACERS - 1}


def trying(store: Store, of: Claim) -> str:
    told = Note(
        instance_id=of.instance_id,
        owner=of.owner,
        serial=SERIAL,
        nonce=of.nonce,
        result="trying",
        code=None,
        pin="untried",
    )
    return " ".join(receipts.note(store, told).effect)


def test_a_receipt_and_a_new_answer_at_once_leave_one_story(store: Store, other: Store) -> None:
    """Confirmed, or answered anew and still taken: never a confirmation of an answer that was replaced."""
    for number in range(ROUNDS):
        first = claim(number, "k")
        assert ask(store, first) == "new"
        again = replace(first, nonce="newer", first_time=False)

        def act(at: Store, wanted: Claim, mine: Claim = first) -> str:
            return installed(at, mine) if wanted is mine else ask(at, wanted)

        outcome = race(store, other, [first, again], act)
        with store.reading() as tx:
            found = tx.execute(select(slots.c.state, slots.c.nonce).where(slots.c.instance_id == first.instance_id))
            row = found.one()
        assert (outcome, tuple(row)) in (
            ({"noted confirmed": 1, "already_enrolled": 1}, ("CONFIRMED", first.nonce)),
            ({"": 1, "again": 1}, ("TAKEN", "newer")),
        )


def installed(store: Store, of: Claim) -> str:
    told = Note(
        instance_id=of.instance_id,
        owner=of.owner,
        serial=SERIAL,
        nonce=of.nonce,
        result="installed",
        code=None,
        pin="unused",
    )
    return " ".join(receipts.note(store, told).effect)
