"""The state tables of docs/protocol.md, each cell made true by driving the ledger there."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from hsm_verifier.ledger import desk, receipts
from hsm_verifier.ledger.receipts import Note
from hsm_verifier.ledger.rows import Claim
from hsm_verifier.ledger.schema import db_now, gates, grants, instances, slots
from hsm_verifier.ledger.store import Store
from hsm_verifier.ledger.take import Held, confirm_have, take
from hsm_verifier.refusal import Refusal
from tests.documents import bare, table
from tests.verifier.claims import GATE, SERIAL, claim

PROTOCOL = "docs/protocol.md"
STATES = ("FREE", "TAKEN", "CONFIRMED", "REVOKED")


OWNER = claim()
OTHER = replace(OWNER, owner="X" * 43, first_time=False)


def ask(store: Store, asked: Claim) -> str:
    """Word what happens as the tables do."""
    try:
        found = take(store, asked, lambda state, _trial: state.encode())
    except Refusal as refusal:
        return f"{refusal.status} {refusal.reason}" + ("; alarm" if refusal.alarm else "")
    if isinstance(found, Held):
        return "hold" + ("; alarm" if found.alarm else "")
    return "trial" if found.trial else "bundle" if asked.gate else "answer"


def note(store: Store, of: Claim, result: str, pin: str = "unused") -> str:
    told = Note(
        instance_id=of.instance_id, owner=of.owner, serial=SERIAL, nonce=of.nonce, result=result, code=None, pin=pin
    )
    try:
        return "; alarm" if receipts.note(store, told).alarm else ""
    except Refusal as refusal:
        return f"; {refusal.status} {refusal.reason}"


def slot_state(store: Store) -> str:
    with store.reading() as tx:
        found = tx.execute(select(slots.c.state).where(slots.c.serial == SERIAL)).scalar_one_or_none()
    return found or "FREE"


def bring_to(store: Store, state: str) -> None:
    """Make the instance known with its slot of SERIAL in this state."""
    ask(store, replace(OWNER, serial=SERIAL if state != "FREE" else SERIAL - 1))
    if state == "CONFIRMED":
        note(store, OWNER, "installed")
    if state == "REVOKED":
        desk.revoke(store, OWNER.instance_id)
    assert slot_state(store) == state


def cell_of(store: Store, asked: Claim) -> str:
    said = ask(store, asked)
    if said != "answer":
        return said
    with store.reading() as tx:
        owner = tx.execute(select(instances.c.owner)).scalar_one()
        left = tx.execute(select(grants.c.remaining)).scalar_one_or_none()
    said += f"; {slot_state(store)}" + ("; new owner" if owner != OWNER.owner else "")
    return said + ("; grant used" if left == 0 else "")


ASKED = {bare(row["who asks"]): row for row in table(PROTOCOL, "One time", "who asks", *STATES)}


def test_every_row_of_the_first_table_is_tried() -> None:
    assert list(ASKED) == [
        "the first key of an instance without any slot",
        "the owner",
        "the owner, with a grant",
        "another key",
        "another key, with a grant",
    ]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("who", [one for one in ASKED if "without any slot" not in one])
def test_o1_who_asks_gets_what_the_table_says(store: Store, who: str, state: str) -> None:
    bring_to(store, state)
    if "with a grant" in who:
        desk.make_grant(store, OWNER.instance_id, count=1, seconds=60, reason="rebuilt", owner=None)
    asked = OTHER if "another key" in who else replace(OWNER, first_time=False)
    assert cell_of(store, asked) == bare(ASKED[who][state])


def test_o1_the_first_key_of_an_instance_gets_what_the_table_says(store: Store) -> None:
    row = ASKED["the first key of an instance without any slot"]
    assert cell_of(store, OWNER) == bare(row["FREE"])
    assert {row[state] for state in STATES[1:]} == {"-"}


TOLD: dict[str, Callable[[Store], object]] = {
    "receipt trying": lambda store: note(store, OWNER, "trying"),
    "receipt installed": lambda store: note(store, OWNER, "installed"),
    "receipt failed": lambda store: note(store, OWNER, "failed"),
    "have = this serial": lambda store: confirm_have(store, OWNER.instance_id, OWNER.owner, SERIAL),
}
SAID = {bare(row["the owner says"]): row for row in table(PROTOCOL, "One time", "the owner says")}


@pytest.mark.parametrize("state", STATES[1:])
@pytest.mark.parametrize("what", TOLD)
def test_o1_what_the_owner_says_does_what_the_table_says(store: Store, what: str, state: str) -> None:
    assert set(SAID) == set(TOLD)
    bring_to(store, state)
    TOLD[what](store)
    assert slot_state(store) == SAID[what][f"{state} becomes"]


# --- V13

A, B, C = (claim(number, gate=GATE) for number in (1, 2, 3))


def lease_over(store: Store) -> None:
    with store.deciding() as tx:
        tx.execute(update(gates).values(until=db_now() - 1))


def on_trial(store: Store) -> None:
    assert ask(store, A) == "trial"


def trying(store: Store) -> None:
    on_trial(store)
    assert note(store, A, "trying", "untried") == ""


def gone_after_trying(store: Store) -> None:
    trying(store)
    lease_over(store)


def gone_twice(store: Store) -> None:
    gone_after_trying(store)
    assert ask(store, B) == "trial"
    note(store, B, "trying", "untried")
    lease_over(store)


def gone(store: Store) -> None:
    on_trial(store)
    lease_over(store)


def proven(store: Store) -> None:
    on_trial(store)
    note(store, A, "installed", "accepted")


def halted(store: Store) -> None:
    on_trial(store)
    note(store, A, "failed", "refused")


GATES: dict[str, Callable[[Store], None]] = {
    "UNPROVEN, no trial": lambda _store: None,
    "UNPROVEN, lease over without trying": gone,
    "UNPROVEN, on trial, before trying": on_trial,
    "UNPROVEN, on trial, after trying": trying,
    "UNPROVEN, lease over after trying, the first": gone_after_trying,
    "UNPROVEN, lease over after trying, the second": gone_twice,
    "PROVEN": proven,
    "HALTED": halted,
}
WHO = {"any instance": C, "the trial itself": A, "another": C}
GATE_ROWS = table(PROTOCOL, "V13: who tries a new PIN first", "the gate", "who asks")


def gate_of(store: Store) -> tuple[str, str | None, int, int, float | None]:
    with store.reading() as tx:
        row = tx.execute(select(gates.c.state, gates.c.trial, gates.c.trying, gates.c.tries, gates.c.until)).first()
    return ("UNPROVEN", None, 0, 0, None) if row is None else (row[0], row[1], row[2], row[3], row[4])


def becomes(before: tuple[str, str | None, int, int, float | None], store: Store, asked: Claim) -> str:
    state, trial, _, tries, until = gate_of(store)
    counted = "a try is counted; " if tries > before[3] else ""
    if state != before[0]:
        return state
    if before == gate_of(store):
        return "no change" if trial != asked.instance_id or before[2] else "on trial, the lease as before"
    assert trial == asked.instance_id
    assert until is not None
    return f"{counted}on trial by it" + ("" if counted else ", for 10 minutes")


@pytest.mark.parametrize("row", GATE_ROWS, ids=lambda row: bare(f"{row['the gate']} - {row['who asks']}"))
def test_v13_the_gate_moves_as_the_table_says(store: Store, row: dict[str, str]) -> None:
    GATES[bare(row["the gate"])](store)
    before, asked = gate_of(store), WHO[row["who asks"]]
    assert ask(store, asked) == row["the asker gets"]
    assert becomes(before, store, asked) == row["becomes"]


def test_v13_every_state_of_the_gate_is_in_the_table() -> None:
    assert {bare(row["the gate"]) for row in GATE_ROWS} == set(GATES)


def after(store: Store) -> str:
    state, trial, tried, _, _ = gate_of(store)
    if state != "UNPROVEN":
        return state
    return "no trial" if trial is None else "on trial, after trying" if tried else "on trial"


REPORTS: dict[str, tuple[Callable[[Store], None], str, str]] = {
    "trying, while the lease is good": (on_trial, "trying", "untried"),
    "trying, when the lease is over or another's": (gone, "trying", "untried"),
    "pin: accepted": (trying, "installed", "accepted"),
    "pin: refused": (trying, "failed", "refused"),
    "pin: refused, when it was PROVEN": (proven, "failed", "refused"),
    "pin: untried, from the trial": (on_trial, "failed", "untried"),
}


@pytest.mark.parametrize(
    "row", table(PROTOCOL, "V13: who tries a new PIN first", "receipt"), ids=lambda row: bare(row["receipt"])
)
def test_v13_a_receipt_moves_the_gate_as_the_table_says(store: Store, row: dict[str, str]) -> None:
    arrange, result, pin = REPORTS[bare(row["receipt"])]
    arrange(store)
    before = after(store)
    words = note(store, A, result, pin)
    reached = "no change" if words.startswith("; 503") and after(store) == before else after(store)
    assert reached + words == bare(row["the gate becomes"])
