"""V13: one instance tries a new PIN, the fleet waits, and two wrong tries are the most there can be."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from hsm_verifier.ledger import desk, receipts
from hsm_verifier.ledger.receipts import Note
from hsm_verifier.ledger.rows import Claim
from hsm_verifier.ledger.schema import db_now, gates
from hsm_verifier.ledger.store import Store
from hsm_verifier.ledger.take import Held, take
from hsm_verifier.refusal import Refusal
from tests.verifier.claims import GATE, SERIAL, claim

pytestmark = pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)


def ask(store: Store, wanted: Claim) -> str:
    try:
        found = take(store, wanted, lambda state, _trial: state.encode())
    except Refusal as refusal:
        return refusal.reason
    if isinstance(found, Held):
        return ("halted" if found.halted else "held") + ("!" if found.alarm else "")
    return "trial" if found.trial else "served"


def report(store: Store, of: Claim, result: str, pin: str) -> tuple[str, ...]:
    told = Note(
        instance_id=of.instance_id, owner=of.owner, serial=SERIAL, nonce=of.nonce, result=result, code=None, pin=pin
    )
    return receipts.note(store, told).effect


def lease_over(store: Store) -> None:
    with store.deciding() as tx:
        tx.execute(update(gates).values(until=db_now() - 1))


def state(store: Store) -> str:
    (line,) = desk.list_gates(store)
    return line.state


A, B, C, D = (claim(number, gate=GATE) for number in (1, 2, 3, 4))


def test_the_first_gets_the_trial_and_holds_it_when_it_asks_again(store: Store) -> None:
    assert ask(store, A) == "trial"
    assert ask(store, B) == "held"
    assert ask(store, replace(A, nonce="again")) == "trial"
    assert ask(store, B) == "held"


def test_asking_again_does_not_prolong_the_lease(store: Store) -> None:
    assert ask(store, A) == "trial"
    with store.deciding() as tx:
        tx.execute(update(gates).values(until=db_now() + 1))
    assert ask(store, A) == "trial"
    with store.reading() as tx:
        left = tx.execute(gates.select().with_only_columns(gates.c.until - db_now())).scalar_one()
    assert left <= 1


def test_asking_again_when_the_lease_is_over_gives_a_new_one(store: Store) -> None:
    assert ask(store, A) == "trial"
    lease_over(store)
    assert ask(store, A) == "trial"
    assert ask(store, B) == "held"
    assert report(store, A, "trying", "untried") == ("noted",)


def test_held_takes_no_slot_and_no_key(store: Store) -> None:
    ask(store, A)
    assert ask(store, B) == "held"
    assert [line.instance_id for line in desk.list_slots(store)] == [A.instance_id]


@pytest.mark.parametrize("result", ["installed", "failed"])
def test_accepted_opens_the_gate_for_all(store: Store, result: str) -> None:
    ask(store, A)
    assert report(store, A, "trying", "untried") == ("noted",)
    assert "proven" in report(store, A, result, "accepted")
    assert [ask(store, one) for one in (B, C, D)] == ["served"] * 3


def test_refused_halts_at_once_until_an_operator_resumes(store: Store) -> None:
    ask(store, A)
    report(store, A, "trying", "untried")
    assert "halted" in report(store, A, "failed", "refused")
    assert ask(store, B) == "halted"
    assert desk.resume_gate(store, GATE.pin_id) == 1
    assert desk.resume_gate(store, GATE.pin_id) == 0
    assert ask(store, B) == "trial"


def test_refused_halts_a_proven_pin_too(store: Store) -> None:
    ask(store, A)
    report(store, A, "installed", "accepted")
    assert ask(store, B) == "served"
    assert "halted" in report(store, B, "failed", "refused")
    assert state(store) == "HALTED"


def test_the_gate_hears_nothing_of_an_instance_that_was_revoked(store: Store) -> None:
    ask(store, A)
    report(store, A, "installed", "accepted")
    assert ask(store, B) == "served"
    assert desk.revoke(store, B.instance_id) == 1
    assert report(store, B, "failed", "refused") == ()
    assert state(store) == "PROVEN"
    with pytest.raises(Refusal, match="trial_over"):
        report(store, B, "trying", "untried")


def test_a_try_of_one_that_was_revoked_meanwhile_is_counted_when_its_lease_is_over(store: Store) -> None:
    ask(store, A)
    report(store, A, "trying", "untried")
    desk.revoke(store, A.instance_id)
    assert report(store, A, "installed", "accepted") == ()
    assert ask(store, B) == "held"
    lease_over(store)
    assert ask(store, B) == "trial"
    assert [line.tries for line in desk.list_gates(store)] == [1]


@pytest.mark.parametrize("pin", ["unused", "untried"])
def test_failed_before_the_pin_was_tried_frees_the_trial(store: Store, pin: str) -> None:
    ask(store, A)
    assert "freed" in report(store, A, "failed", pin)
    assert ask(store, B) == "trial"


def test_a_trial_that_vanished_before_trying_costs_nothing(store: Store) -> None:
    ask(store, A)
    lease_over(store)
    assert ask(store, B) == "trial"
    lease_over(store)
    assert ask(store, C) == "trial"
    assert state(store) == "UNPROVEN"


def test_two_that_vanished_after_trying_halt_the_gate(store: Store) -> None:
    for one in (A, B):
        assert ask(store, one) == "trial"
        report(store, one, "trying", "untried")
        lease_over(store)
    assert ask(store, C) == "halted!"
    assert ask(store, C) == "halted"
    assert ask(store, D) == "halted"


def test_a_slow_trial_whose_lease_went_to_another_may_not_try(store: Store) -> None:
    ask(store, A)
    lease_over(store)
    assert ask(store, B) == "trial"
    with pytest.raises(Refusal) as caught:
        report(store, A, "trying", "untried")
    assert (caught.value.reason, caught.value.detail) == ("hold", "V13 trial_over")
    report(store, B, "trying", "untried")
    report(store, B, "installed", "accepted")
    assert report(store, A, "trying", "untried") == ("noted",)


def test_a_trial_that_is_too_slow_may_not_try_though_nobody_else_asked(store: Store) -> None:
    ask(store, A)
    lease_over(store)
    with pytest.raises(Refusal) as caught:
        report(store, A, "trying", "untried")
    assert (caught.value.reason, caught.value.detail) == ("hold", "V13 trial_over")


def test_an_operator_gives_two_fresh_tries(store: Store) -> None:
    for one in (A, B):
        ask(store, one)
        report(store, one, "trying", "untried")
        lease_over(store)
    assert ask(store, C) == "halted!"
    assert desk.resume_gate(store, GATE.pin_id) == 1
    assert ask(store, C) == "trial"
    report(store, C, "trying", "untried")
    lease_over(store)
    assert ask(store, D) == "trial"
    (line,) = desk.list_gates(store)
    assert (line.state, line.tries) == ("UNPROVEN", 1)


def test_an_older_answers_trying_is_not_permission(store: Store) -> None:
    ask(store, A)
    assert ask(store, replace(A, nonce="newer")) == "trial"
    with pytest.raises(Refusal):
        report(store, A, "trying", "untried")


def test_a_trying_about_an_answer_without_a_gate_is_noted(store: Store) -> None:
    assert ask(store, replace(A, gate=None)) == "served"
    assert report(store, A, "trying", "untried") == ("noted",)


def test_while_it_is_tried_the_same_instance_waits_like_others(store: Store) -> None:
    ask(store, A)
    report(store, A, "trying", "untried")
    assert ask(store, A) == "held"


def test_another_member_list_or_another_pin_is_another_risk(store: Store) -> None:
    ask(store, A)
    report(store, A, "installed", "accepted")
    assert ask(store, claim(5, gate=replace(GATE, members=("1", "2", "3")))) == "trial"
    assert ask(store, claim(6, gate=replace(GATE, pin_id="pin-00000002"))) == "trial"
    assert ask(store, B) == "served"


@pytest.mark.parametrize("change", [{"members": ("1", "2", "3")}, {"pin_id": "pin-00000002"}])
@pytest.mark.parametrize(("result", "pin"), [("installed", "accepted"), ("failed", "refused"), ("failed", "unused")])
def test_what_one_tells_is_about_its_own_pin_and_members(
    store: Store, result: str, pin: str, change: dict[str, Any]
) -> None:
    beside = replace(GATE, **change)
    assert ask(store, claim(5, gate=beside)) == "trial"
    assert ask(store, A) == "trial"
    report(store, A, result, pin)
    assert ask(store, claim(6, gate=beside)) == "held"


def test_a_stranger_to_the_slot_cannot_move_the_gate(store: Store) -> None:
    ask(store, A)
    with pytest.raises(Refusal):
        report(store, replace(A, owner="X" * 43), "failed", "refused")
    assert report(store, replace(A, nonce="other"), "failed", "refused") == ()
    assert state(store) == "UNPROVEN"


def test_a_refused_request_gives_the_trial_back(store: Store) -> None:
    assert ask(store, replace(A, gate=None)) == "served"
    assert ask(store, replace(A, owner="X" * 43, first_time=False)) == "already_enrolled"
    assert ask(store, B) == "trial"
