"""The fleet at a look, on SQLite and PostgreSQL: where each instance stands, counted, searched, page by page."""

import time

import pytest
from sqlalchemy import update

from hsm_verifier.ledger import desk
from hsm_verifier.ledger.fleet import Fleet, Wanted
from hsm_verifier.ledger.schema import slots
from hsm_verifier.ledger.store import Store
from hsm_verifier.ledger.take import confirm_have, take
from tests.verifier.claims import claim, owner
from tests.verifier.party import INSTANCE

pytestmark = pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)

OLD, NEW = 1_700_000_000, 1_800_000_000


def instance(number: int) -> str:
    return f"i-{number:017x}"


def serve(store: Store, number: int, serial: int = NEW, group: str = "web") -> str:
    wanted = claim(number, serial=serial, group=group)
    take(store, wanted, lambda state, _trial: state.encode())
    return wanted.instance_id


def look(store: Store, **current: int) -> Fleet:
    return Fleet(store, current or {"web": NEW}, time.time())


def age(store: Store, name: str, seconds: float) -> None:
    with store.deciding() as tx:
        tx.execute(update(slots).where(slots.c.instance_id == name).values(taken_at=time.time() - seconds))


def test_each_instance_is_counted_once_where_its_newest_slot_stands(store: Store) -> None:
    taken, behind, done, ended = (serve(store, 1), serve(store, 2, OLD), serve(store, 3), serve(store, 4))
    for serial in (OLD, NEW):
        serve(store, 5, serial)
    confirm_have(store, done, owner(3), NEW)
    confirm_have(store, behind, owner(2), OLD)
    assert desk.revoke(store, ended) == 1
    assert look(store).counts() == {"FREE": 1, "TAKEN": 2, "CONFIRMED": 1, "REVOKED": 1}
    states = {line.instance_id: line.state for line in look(store).lines(Wanted(), limit=10)}
    assert states == {
        taken: "TAKEN",
        behind: "FREE",
        done: "CONFIRMED",
        ended: "REVOKED",
        instance(5): "TAKEN",
    }
    assert [(one.serial, one.state) for one in look(store).slots_of(instance(5))] == [(NEW, "TAKEN"), (OLD, "TAKEN")]


def test_a_group_without_a_bundle_leaves_its_instances_where_they_are(store: Store) -> None:
    serve(store, 1, OLD)
    assert look(store, other=NEW).counts()["TAKEN"] == 1


def test_taken_for_more_than_a_week_is_overdue_also_when_a_newer_bundle_waits(store: Store) -> None:
    late, new, behind = serve(store, 1), serve(store, 2), serve(store, 3, OLD)
    age(store, late, 7 * 86400 + 60)
    age(store, behind, 8 * 86400)
    age(store, new, 7 * 86400 - 60)
    fleet = look(store)
    assert fleet.overdue() == 2
    lines = {line.instance_id: line for line in fleet.lines(Wanted(overdue=True), limit=10)}
    assert set(lines) == {late, behind}
    assert {line.state for line in lines.values()} == {"TAKEN"}
    confirm_have(store, late, owner(1), NEW)
    assert look(store).overdue() == 1


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(words="0000a"), {10}),
        (Wanted(words="batch"), {2}),
        (Wanted(words="nothing like it", ids=(instance(3),)), {3}),
        (Wanted(words="no_slots"), {1}),
        (Wanted(group="batch"), {2}),
        (Wanted(state="TAKEN", group="web"), {1, 3, 10}),
        (Wanted(state="REVOKED"), set()),
        (Wanted(words="%"), set()),
        (Wanted(words="_"), set()),
        (Wanted(words="' OR 1=1 --"), set()),
    ],
)
def test_a_search_finds_by_part_of_the_id_group_code_or_known_name(
    store: Store, wanted: Wanted, found: set[int]
) -> None:
    for number, group in ((1, "web"), (2, "batch"), (3, "web"), (10, "web")):
        serve(store, number, group=group)
    with store.deciding() as tx:
        tx.execute(update(slots).where(slots.c.instance_id == instance(1)).values(result="failed", code="no_slots"))
    lines = look(store).lines(wanted, limit=10)
    assert {line.instance_id for line in lines} == {instance(number) for number in found}
    assert look(store).count(wanted) == len(found)


def test_pages_follow_one_another_without_gap_or_repetition(store: Store) -> None:
    for number in range(7):
        age(store, serve(store, number), 100 * (number + 1))
    pages = [look(store).lines(Wanted(), limit=3, offset=at) for at in (0, 3, 6, 9)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [line.instance_id for page in pages for line in page] == [instance(number) for number in range(7)]


def test_a_time_line_has_what_was_taken_since_it_begins(store: Store) -> None:
    for number in range(4):
        age(store, serve(store, number), 100 * (number + 1))
    now = time.time()
    assert sorted(now - one for one in look(store).taken_since(now - 250)) == pytest.approx([100, 200], abs=30)


def test_grants_are_listed_with_their_end(store: Store) -> None:
    desk.make_grant(store, INSTANCE, count=2, seconds=60, reason="<b>why</b>", owner=None)
    (line,) = look(store).grants_of(INSTANCE)
    assert (line.remaining, line.reason, line.owner) == (2, "<b>why</b>", None)
    assert 50 < line.until - line.made_at <= 61
