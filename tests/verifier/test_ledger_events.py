"""O1's event table, each row in each state; then O2 to O7."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import func, select, update

from hsm_verifier.ledger import desk, known, receipts
from hsm_verifier.ledger.receipts import Note
from hsm_verifier.ledger.rows import Claim
from hsm_verifier.ledger.schema import db_now, grants, instances, owners, slots
from hsm_verifier.ledger.store import Store
from hsm_verifier.ledger.take import Taken, confirm_have, take
from hsm_verifier.refusal import Refusal
from tests.verifier.claims import SERIAL, claim

pytestmark = pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)

OWNER, OTHER = "O" * 43, "X" * 43
INSTANCE = "i-0123456789abcdef0"
CLAIM = claim(instance_id=INSTANCE, owner=OWNER, nonce="n1", launch_time=1000.0)
AGAIN = replace(CLAIM, first_time=False, nonce="n2")
ANOTHER = replace(AGAIN, owner=OTHER)


def ask(store: Store, claim: Claim) -> str:
    """How it was taken, or "reason status", with "!" for an alarm."""
    try:
        taken = take(store, claim, lambda state, _trial: state.encode())
    except Refusal as refusal:
        return f"{refusal.reason} {refusal.status}{'!' if refusal.alarm else ''}"
    assert isinstance(taken, Taken)
    assert taken.answer == (b"current" if taken.how == "current" else b"bundle")
    return taken.how + ("!" if taken.alarm else "")


def state(store: Store, serial: int = SERIAL) -> str:
    with store.reading() as tx:
        found = tx.execute(select(slots.c.state).where(slots.c.serial == serial)).scalar_one_or_none()
    return found or "FREE"


def owner(store: Store) -> str:
    with store.reading() as tx:
        return str(tx.execute(select(instances.c.owner)).scalar_one())


def report(store: Store, result: str, nonce: str = "n1", who: str = OWNER, pin: str = "unused") -> tuple[str, ...]:
    told = Note(instance_id=INSTANCE, owner=who, serial=SERIAL, nonce=nonce, result=result, code=None, pin=pin)
    return receipts.note(store, told).effect


def to_free(_store: Store) -> None:
    pass


def to_taken(store: Store) -> None:
    assert ask(store, CLAIM) == "new"


def to_confirmed(store: Store) -> None:
    to_taken(store)
    assert report(store, "installed") == ("noted", "confirmed")


def to_revoked(store: Store) -> None:
    to_taken(store)
    assert desk.revoke(store, INSTANCE) == 1


TABLE = [
    (to_free, CLAIM, "new", "TAKEN"),
    (to_taken, AGAIN, "again", "TAKEN"),
    (to_confirmed, AGAIN, "already_enrolled 410", "CONFIRMED"),
    (to_revoked, AGAIN, "not_admitted 403!", "REVOKED"),
    (to_taken, ANOTHER, "already_enrolled 409!", "TAKEN"),
    (to_confirmed, ANOTHER, "already_enrolled 409!", "CONFIRMED"),
    (to_revoked, ANOTHER, "not_admitted 403!", "REVOKED"),
]


@pytest.mark.parametrize(("arrange", "claim", "outcome", "after"), TABLE)
def test_o1_who_asks_in_which_state(
    store: Store, arrange: Callable[[Store], None], claim: Claim, outcome: str, after: str
) -> None:
    arrange(store)
    assert ask(store, claim) == outcome
    assert state(store) == after
    assert after == "FREE" or owner(store) == OWNER


GRANTED = [
    (to_taken, ANOTHER, "granted", "TAKEN", OTHER),
    (to_confirmed, ANOTHER, "granted", "TAKEN", OTHER),
    (to_confirmed, AGAIN, "granted", "TAKEN", OWNER),
    (to_revoked, ANOTHER, "not_admitted 403!", "REVOKED", OWNER),
]


@pytest.mark.parametrize(("arrange", "claim", "outcome", "after", "owner_after"), GRANTED)
def test_o6_the_same_with_a_grant(
    store: Store, *, arrange: Callable[[Store], None], claim: Claim, outcome: str, after: str, owner_after: str
) -> None:
    arrange(store)
    desk.make_grant(store, INSTANCE, count=1, seconds=3600, reason="rebuilt", owner=None)
    assert ask(store, claim) == outcome
    assert (state(store), owner(store)) == (after, owner_after)


def test_lg5_what_is_repeated_is_what_an_older_copy_may_know(store: Store) -> None:
    newer = replace(AGAIN, serial=AGAIN.serial + 1)
    told: list[tuple[str, bool]] = []
    desk.make_grant(store, INSTANCE, count=3, seconds=3600, reason="rebuilt", owner=None)
    for wanted in (CLAIM, AGAIN, ANOTHER, AGAIN, newer, replace(ANOTHER, serial=newer.serial)):
        found = take(store, wanted, lambda state, _trial: state.encode())
        assert isinstance(found, Taken)
        told.append((found.how, found.repeated))
    assert told == [
        ("new", False),
        ("again", True),
        ("granted", False),  # another key
        ("granted", True),  # the first one's again
        ("next", False),
        ("granted", True),
    ]


def test_o6_a_grant_is_not_used_by_a_request_that_needs_none(store: Store) -> None:
    to_taken(store)
    desk.make_grant(store, INSTANCE, count=1, seconds=3600, reason="rebuilt", owner=None)
    assert ask(store, AGAIN) == "again"
    assert ask(store, ANOTHER) == "granted"
    assert ask(store, AGAIN) == "already_enrolled 409!"


def test_o6_lg2_a_grant_counts_down_and_ends_by_the_databases_clock(store: Store) -> None:
    to_taken(store)
    desk.make_grant(store, INSTANCE, count=2, seconds=3600, reason="rebuilt", owner=None)
    assert ask(store, ANOTHER) == "granted"
    with store.deciding() as tx:
        tx.execute(update(grants).values(until=db_now()))
    assert ask(store, AGAIN) == "already_enrolled 409!"


def test_o6_a_grant_for_one_owner_helps_no_other(store: Store) -> None:
    to_taken(store)
    desk.make_grant(store, INSTANCE, count=1, seconds=3600, reason="rebuilt", owner="Y" * 43)
    assert ask(store, ANOTHER) == "already_enrolled 409!"
    assert ask(store, replace(ANOTHER, owner="Y" * 43)) == "granted"


def test_o6_grants_that_are_withdrawn_help_nobody_and_what_they_gave_stays(store: Store) -> None:
    to_taken(store)
    for owner in (OTHER, None):
        desk.make_grant(store, INSTANCE, count=1, seconds=3600, reason="rebuilt", owner=owner)
    desk.make_grant(store, "i-0123456789abcdef9", count=1, seconds=3600, reason="another instance's", owner=None)
    assert ask(store, ANOTHER) == "granted"
    assert (desk.open_grants(store, INSTANCE), desk.withdraw(store, INSTANCE), desk.withdraw(store, INSTANCE)) == (
        1,
        1,
        0,
    )
    assert ask(store, AGAIN) == "already_enrolled 409!"
    assert ask(store, replace(ANOTHER, nonce="n3")) == "again"
    assert desk.open_grants(store, "i-0123456789abcdef9") == 1


@pytest.mark.parametrize(
    ("count", "seconds", "reason"), [(0, 60, "r"), (101, 60, "r"), (1, 0, "r"), (1, 86401, "r"), (1, 60, "")]
)
def test_o6_a_grant_without_bounds_is_none(store: Store, count: int, seconds: float, reason: str) -> None:
    with pytest.raises(ValueError, match="grant wants"):
        desk.make_grant(store, INSTANCE, count=count, seconds=seconds, reason=reason, owner=None)


RECEIPTS = [
    (to_taken, "installed", ("noted", "confirmed"), "CONFIRMED"),
    (to_taken, "failed", ("noted",), "TAKEN"),
    (to_confirmed, "installed", (), "CONFIRMED"),
    (to_confirmed, "failed", (), "CONFIRMED"),
    (to_revoked, "installed", (), "REVOKED"),
    (to_revoked, "failed", (), "REVOKED"),
]


@pytest.mark.parametrize(("arrange", "result", "effect", "after"), RECEIPTS)
def test_o1_what_a_receipt_does_in_which_state(
    store: Store, arrange: Callable[[Store], None], result: str, effect: tuple[str, ...], after: str
) -> None:
    arrange(store)
    assert report(store, result) == effect
    assert state(store) == after


def test_a_receipt_about_an_older_answer_has_no_effect(store: Store) -> None:
    to_taken(store)
    assert ask(store, AGAIN) == "again"
    assert report(store, "installed", nonce="n1") == ()
    assert state(store) == "TAKEN"
    assert report(store, "installed", nonce="n2") == ("noted", "confirmed")


def test_a_receipt_of_a_key_that_was_replaced_meanwhile_is_refused(store: Store) -> None:
    to_taken(store)
    with pytest.raises(Refusal) as caught:
        report(store, "installed", who=OTHER)
    assert caught.value.detail == "R owner_changed"
    assert state(store) == "TAKEN"


@pytest.mark.parametrize(
    ("arrange", "who", "done", "after"),
    [
        (to_taken, OWNER, True, "CONFIRMED"),
        (to_confirmed, OWNER, True, "CONFIRMED"),
        (to_revoked, OWNER, False, "REVOKED"),
        (to_taken, OTHER, False, "TAKEN"),
        (to_free, OWNER, False, "FREE"),
    ],
)
def test_o1_have_confirms_for_the_owner_alone(
    store: Store, *, arrange: Callable[[Store], None], who: str, done: bool, after: str
) -> None:
    arrange(store)
    assert confirm_have(store, INSTANCE, who, SERIAL) is done
    assert state(store) == after


def test_o3_have_the_current_serial_is_answered_current(store: Store) -> None:
    to_taken(store)
    assert ask(store, replace(AGAIN, have=SERIAL)) == "current"
    assert state(store) == "CONFIRMED"


def test_o3_have_beyond_the_current_serial_is_an_alarm(store: Store) -> None:
    to_taken(store)
    assert ask(store, replace(AGAIN, have=SERIAL + 1)) == "not_admitted 403!"


def test_a_ledger_restored_from_before_writes_down_what_the_owner_has(store: Store) -> None:
    to_taken(store)
    assert confirm_have(store, INSTANCE, OWNER, SERIAL + 5)
    assert state(store, SERIAL + 5) == "CONFIRMED"


def test_o1_a_revoked_instance_confirms_nothing_by_naming_a_serial_it_never_had(store: Store) -> None:
    to_revoked(store)
    assert not confirm_have(store, INSTANCE, OWNER, SERIAL + 5)
    assert (state(store), state(store, SERIAL + 5)) == ("REVOKED", "FREE")


def test_a_new_instance_that_has_the_current_serial_is_taken_in_as_confirmed(store: Store) -> None:
    assert ask(store, replace(CLAIM, have=SERIAL)) == "current"
    assert state(store) == "CONFIRMED"


def test_o2_a_newer_serial_goes_to_the_owner_and_to_nobody_else(store: Store) -> None:
    to_confirmed(store)
    newer = SERIAL + 100
    assert ask(store, replace(ANOTHER, serial=newer)) == "already_enrolled 409!"
    assert state(store, newer) == "FREE"
    assert ask(store, replace(AGAIN, serial=newer, have=SERIAL)) == "next"
    assert (state(store), state(store, newer)) == ("CONFIRMED", "TAKEN")


def test_a_revoked_instance_gets_no_later_serial_either(store: Store) -> None:
    to_revoked(store)
    assert ask(store, replace(AGAIN, serial=SERIAL + 1)) == "not_admitted 403!"
    assert state(store, SERIAL + 1) == "FREE"


def test_o7_serial_published_between_try_and_retry_is_what_is_given(store: Store) -> None:
    to_taken(store)
    assert ask(store, replace(AGAIN, serial=SERIAL + 1)) == "next"


def test_o1_twenty_answers_an_hour_and_then_busy(store: Store) -> None:
    to_taken(store)
    for count in range(19):
        assert ask(store, replace(AGAIN, nonce=f"again{count}")) == "again"
    assert ask(store, AGAIN) == "busy 429"
    with store.deciding() as tx:
        tx.execute(update(slots).values(hour=db_now() - 3601))
    assert ask(store, AGAIN) == "again"


RELAUNCH = replace(ANOTHER, lost_key="relaunched", launch_time=2000.0)


def test_o5_lg5_nobody_takes_over_by_a_relaunch_while_the_ledger_may_be_an_older_copy(store: Store) -> None:
    to_taken(store)
    store.set_mode("operator")
    assert ask(store, RELAUNCH) == "already_enrolled 409!"
    assert owner(store) == OWNER
    store.set_mode("open")
    assert ask(store, RELAUNCH) == "relaunched!"


def test_o5_a_relaunched_instance_with_a_lost_key_takes_over_with_an_alarm(store: Store) -> None:
    to_taken(store)
    assert ask(store, RELAUNCH) == "relaunched!"
    assert (owner(store), state(store)) == (OTHER, "TAKEN")


def test_o5_one_start_is_good_for_one_key(store: Store) -> None:
    to_taken(store)
    assert ask(store, RELAUNCH) == "relaunched!"
    assert ask(store, replace(RELAUNCH, owner="Y" * 43)) == "already_enrolled 409!"
    assert owner(store) == OTHER


@pytest.mark.parametrize(
    "claim",
    [
        replace(RELAUNCH, lost_key="grant"),
        replace(RELAUNCH, launch_time=1000.0),
        replace(RELAUNCH, launch_time=None),
        replace(RELAUNCH, level="iid"),
        replace(RELAUNCH, level="fields"),
    ],
)
def test_o5_anything_less_is_another_key(store: Store, claim: Claim) -> None:
    to_taken(store)
    assert ask(store, claim) == "already_enrolled 409!"
    assert owner(store) == OWNER


def to_have(store: Store) -> None:
    to_taken(store)
    assert confirm_have(store, INSTANCE, OWNER, SERIAL)


@pytest.mark.parametrize("confirm", [to_confirmed, to_have])
def test_o5_not_once_it_was_confirmed_even_if_a_grant_made_it_taken_again(
    store: Store, confirm: Callable[[Store], None]
) -> None:
    confirm(store)
    assert ask(store, RELAUNCH) == "already_enrolled 409!"
    desk.make_grant(store, INSTANCE, count=1, seconds=60, reason="r", owner=None)
    assert ask(store, AGAIN) == "granted"
    assert state(store) == "TAKEN"
    assert ask(store, RELAUNCH) == "already_enrolled 409!"


@pytest.mark.parametrize("how", ["granted", "relaunched!"])
def test_o5_o6_receipts_are_read_with_the_new_owners_key(store: Store, how: str) -> None:
    to_taken(store)
    assert receipts.owner_jwk(store, INSTANCE, SERIAL) == CLAIM.jwk
    if how == "granted":
        desk.make_grant(store, INSTANCE, count=1, seconds=60, reason="r", owner=None)
    assert ask(store, replace(RELAUNCH, jwk="the new owner's")) == how
    assert receipts.owner_jwk(store, INSTANCE, SERIAL) == "the new owner's"
    assert receipts.owner_jwk(store, INSTANCE, SERIAL + 1) is None
    assert receipts.owner_jwk(store, "i-0fedcba9876543210", SERIAL) is None


def test_o5_two_takeovers_are_enough(store: Store) -> None:
    to_taken(store)
    assert ask(store, RELAUNCH) == "relaunched!"
    assert ask(store, replace(RELAUNCH, owner="Y" * 43, launch_time=3000.0)) == "relaunched!"
    third = replace(RELAUNCH, owner="Z" * 43, launch_time=4000.0)
    assert ask(store, third) == "already_enrolled 409!"
    desk.make_grant(store, INSTANCE, count=1, seconds=60, reason="r", owner=None)
    assert ask(store, third) == "granted"
    assert ask(store, replace(RELAUNCH, owner="V" * 43, launch_time=5000.0)) == "relaunched!"  # counted since the grant


def test_lg4_a_key_copied_to_a_second_instance_is_refused_with_an_alarm(store: Store) -> None:
    to_taken(store)
    clone = replace(CLAIM, instance_id="i-0fedcba9876543210")
    assert ask(store, clone) == "not_admitted 403!"
    assert known.look_up(store, clone.instance_id, clone.owner, None).known is None


def test_lg4_a_key_that_was_replaced_stays_bound_to_its_instance(store: Store) -> None:
    to_taken(store)
    desk.make_grant(store, INSTANCE, count=1, seconds=60, reason="r", owner=None)
    assert ask(store, ANOTHER) == "granted"
    assert ask(store, replace(CLAIM, instance_id="i-0fedcba9876543210")) == "not_admitted 403!"


def test_lg5_in_operator_mode_a_newcomer_needs_a_grant(store: Store) -> None:
    store.set_mode("operator")
    assert ask(store, CLAIM) == "already_enrolled 409!"
    assert state(store) == "FREE"
    desk.make_grant(store, INSTANCE, count=1, seconds=60, reason="restored", owner=OWNER)
    assert ask(store, CLAIM) == "granted"
    assert state(store) == "TAKEN"


def test_o6_a_grant_that_waits_for_a_newcomers_key_is_seen_before_anything_is_decided(store: Store) -> None:
    def waiting(who: str) -> set[str]:
        return {which for which in ("any", "owner", "off") if known.grant_waits(store, INSTANCE, who, which)}

    desk.make_grant(store, "i-0fedcba9876543210", count=1, seconds=3600, reason="r", owner=None)
    assert waiting(OWNER) == set()
    desk.make_grant(store, INSTANCE, count=1, seconds=3600, reason="r", owner=OTHER)
    assert (waiting(OWNER), waiting(OTHER)) == (set(), {"any", "owner"})
    desk.make_grant(store, INSTANCE, count=1, seconds=60, reason="r", owner=None)
    assert (waiting(OWNER), waiting(OTHER)) == ({"any"}, {"any", "owner"})
    with store.deciding() as tx:
        tx.execute(update(grants).where(grants.c.owner.is_(None)).values(until=db_now() - 1))
        tx.execute(update(grants).where(grants.c.owner == OTHER).values(remaining=0))
    assert (waiting(OWNER), waiting(OTHER)) == (set(), set())


def test_o6_a_granted_newcomer_whose_grant_was_used_up_meanwhile_is_refused(store: Store) -> None:
    assert ask(store, replace(CLAIM, first_time=False)) == "already_enrolled 409!"
    assert state(store) == "FREE"


def test_lg5_in_operator_mode_known_owners_go_on(store: Store) -> None:
    to_taken(store)
    store.set_mode("operator")
    assert ask(store, AGAIN) == "again"
    assert ask(store, replace(AGAIN, serial=SERIAL + 1)) == "next"
    store.set_mode("open")
    assert ask(store, replace(CLAIM, instance_id="i-0fedcba9876543210", owner=OTHER)) == "new"


def test_a_decision_that_dies_before_commit_leaves_everything_free(store: Store) -> None:
    def die(*_words: object) -> bytes:
        raise MemoryError

    with pytest.raises(MemoryError):
        take(store, CLAIM, die)
    with store.reading() as tx:
        counts = [
            tx.execute(select(func.count()).select_from(table)).scalar_one() for table in (instances, owners, slots)
        ]
    assert counts == [0, 0, 0]
    assert ask(store, CLAIM) == "new"


def test_a_first_time_claim_that_comes_second_is_judged_like_any_other_key(store: Store) -> None:
    to_taken(store)
    assert ask(store, replace(CLAIM, owner=OTHER)) == "already_enrolled 409!"
    assert ask(store, replace(CLAIM, nonce="n3")) == "again"


def test_without_first_time_nobody_becomes_a_first_owner(store: Store) -> None:
    # V11 and V12 were not enforced for such a request.
    assert ask(store, AGAIN) == "already_enrolled 409!"
    assert state(store) == "FREE"


def test_the_newest_facts_are_remembered_and_the_document_never_goes_back(store: Store) -> None:
    assert ask(store, replace(CLAIM, pending_time=500.0)) == "new"
    assert ask(store, replace(AGAIN, pending_time=400.0, launch_time=1500.0, group="db")) == "again"
    found = known.look_up(store, INSTANCE, "", None).known
    assert found == known.Known(owner=OWNER, group="db", pending_time=500.0, have_confirmed=False)
    with store.reading() as tx:
        assert tx.execute(select(instances.c.launch_time)).scalar_one() == 1500.0


def test_an_hsm_that_was_down_for_eight_days_finds_its_rotation_still_there(store: Store) -> None:
    to_confirmed(store)
    newer = replace(AGAIN, serial=SERIAL + 1, have=SERIAL)
    assert ask(store, newer) == "next"
    assert report(store, "failed") == ()  # about the older serial's answer: no effect
    with store.deciding() as tx:
        tx.execute(update(slots).values(taken_at=slots.c.taken_at - 8 * 86400, hour=slots.c.hour - 8 * 86400))
    assert ask(store, replace(ANOTHER, serial=SERIAL + 1)) == "already_enrolled 409!"
    assert ask(store, newer) == "again"
    assert state(store, SERIAL + 1) == "TAKEN"


def test_taken_for_a_week_is_reported_as_overdue(store: Store) -> None:
    to_taken(store)
    assert [line.overdue for line in desk.list_slots(store)] == [False]
    with store.deciding() as tx:
        tx.execute(update(slots).values(taken_at=db_now() - 8 * 86400))
    assert [(line.state, line.overdue) for line in desk.list_slots(store)] == [("TAKEN", True)]
    assert state(store) == "TAKEN"
