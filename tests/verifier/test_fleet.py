"""The fleet at a look: where each instance stands, counted, searched, page by page; and the moments of a time line."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from hsm_verifier.admin.recent import KEPT, Recent, matching, read_line
from hsm_verifier.admin.timeline import HEIGHT, SPANS, WIDTH, draw
from hsm_verifier.admin.words import ago, moment
from hsm_verifier.audit import Audit
from hsm_verifier.ledger import desk
from hsm_verifier.ledger.fleet import Fleet, Wanted
from hsm_verifier.ledger.rows import Claim
from hsm_verifier.ledger.schema import slots
from hsm_verifier.ledger.store import Store
from hsm_verifier.ledger.take import confirm_have, take
from hsm_verifier.visible import visible
from tests.verifier.party import INSTANCE

OLD, NEW = 1_700_000_000, 1_800_000_000


def instance(number: int) -> str:
    return f"i-{number:017x}"


def serve(store: Store, number: int, serial: int = NEW, group: str = "web") -> str:
    name = instance(number)
    claim = Claim(
        instance_id=name,
        owner=f"{number:043d}",
        jwk="{}",
        group=group,
        serial=serial,
        nonce="n",
        level="identity-role",
        first_time=True,
        launch_time=1.0,
        pending_time=None,
        have=None,
        lost_key="grant",
        gate=None,
    )
    take(store, claim, lambda state, _trial: state.encode())
    return name


def look(store: Store, **current: int) -> Fleet:
    return Fleet(store, current or {"web": NEW}, time.time())


def age(store: Store, name: str, seconds: float) -> None:
    with store.deciding() as tx:
        tx.execute(update(slots).where(slots.c.instance_id == name).values(taken_at=time.time() - seconds))


def test_each_instance_is_counted_once_where_its_newest_slot_stands(store: Store) -> None:
    taken, behind, done, ended = (serve(store, 1), serve(store, 2, OLD), serve(store, 3), serve(store, 4))
    for serial in (OLD, NEW):
        serve(store, 5, serial)
    confirm_have(store, done, f"{3:043d}", NEW)
    confirm_have(store, behind, f"{2:043d}", OLD)
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
    confirm_have(store, late, f"{1:043d}", NEW)
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


def test_grants_are_listed_with_their_end(store: Store) -> None:
    desk.make_grant(store, INSTANCE, count=2, seconds=60, reason="<b>why</b>", owner=None)
    (line,) = look(store).grants_of(INSTANCE)
    assert (line.remaining, line.reason, line.owner) == (2, "<b>why</b>", None)
    assert 50 < line.until - line.made_at <= 61


def test_the_audit_is_read_once_and_then_only_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    recent, audit = Recent(path), Audit(path)
    assert recent.lines() == ()
    audit.write("enrolment", 1.0, outcome="refused", instance=INSTANCE, reason="hold")
    with path.open("ab") as file:
        file.write(b'{"half":')
    (line,) = recent.lines()
    assert (line.instance, line.refused, line.time) == (INSTANCE, True, 1.0)
    audit.write("grant", 2.0, instance=INSTANCE, by="alice")
    assert [one.event for one in recent.lines()] == ["grant", "torn_line", "enrolment"]
    path.unlink()
    Audit(path).write("start", 3.0)
    assert [one.event for one in recent.lines()] == ["start"]


def test_a_long_audit_is_entered_near_its_end_at_the_begin_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text("".join(json.dumps({"event": "e", "instance": str(number)}) + "\n" for number in range(100)))
    monkeypatch.setattr("hsm_verifier.admin.recent.BEGIN", 100)
    assert [one.instance for one in Recent(path).lines()] == ["99", "98", "97"]
    assert KEPT >= 10_000


@pytest.mark.parametrize(
    "line", ["", "nothing", "[]", "7", '{"time":', "[" * 100_000, '"text"', "\xff", "null"], ids=range(9)
)
def test_what_is_no_object_is_no_line(line: str) -> None:
    assert read_line(line) is None


WORDS = st.sampled_from(("", "tags", "Name", "private_dns", "9999-12-31", "1", "\x1b", "\ud800"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
FACTS = ("time", "event", "instance", "outcome", "reason", "detail", "decision", "source", "seen", "alarm", "how")


@given(st.dictionaries(st.sampled_from(FACTS), json_values))
def test_whatever_stands_in_a_line_it_is_understood_or_left_out(record: dict[str, object]) -> None:
    told = read_line(json.dumps(record))
    assert told is not None
    for text in (told.event, told.instance, told.reason, told.detail, told.name, told.why, told.source):
        assert isinstance(text, str)
    assert isinstance(told.alarm, bool)


def test_a_line_is_found_by_decision_request_instance_reason_or_event() -> None:
    line = read_line('{"event":"enrolment","decision":"abc","jti":"J","instance":"i-1","reason":"hold"}')
    assert line is not None
    assert all(list(matching((line,), word)) for word in ("abc", "J", "i-1", "hold", "enrolment"))
    assert not any(list(matching((line,), word)) for word in ("ab", "", "None"))


def test_the_name_of_an_instance_is_its_tag_else_its_host_name() -> None:
    both = read_line('{"seen":{"private_dns":"ip-1.internal","tags":{"Name":"web-1"}}}')
    one = read_line('{"seen":{"private_dns":"ip-1.internal","tags":{"Name":7}}}')
    assert both is not None
    assert one is not None
    assert (both.name, one.name) == ("web-1", "ip-1.internal")


@given(
    st.lists(st.floats(-100, 86400 * 31), max_size=30),
    st.lists(st.floats(-100, 86400 * 31), max_size=30),
    st.sampled_from(sorted(SPANS)),
)
def test_every_moment_of_the_span_is_in_exactly_one_bar(served: list[float], refused: list[float], span: str) -> None:
    now = 86400 * 30.5
    drawn = draw(served, refused, span=span, now=now)
    assert drawn.served == sum(drawn.begin <= one < drawn.end for one in served)
    assert drawn.refused == sum(drawn.begin <= one < drawn.end for one in refused)
    assert drawn.begin <= now < drawn.end
    assert drawn.end - drawn.begin == SPANS[span][0]
    assert len(drawn.bars) == SPANS[span][1]
    for bar in drawn.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH
        assert bar.refused_y >= -0.02
        assert bar.served_y + bar.served_height == pytest.approx(HEIGHT, abs=0.02)
        assert bar.refused_y + bar.refused_height == pytest.approx(bar.served_y, abs=0.03)
    if drawn.most:
        assert max(bar.served_height + bar.refused_height for bar in drawn.bars) == pytest.approx(HEIGHT, abs=0.02)


def test_times_are_told_by_their_largest_unit() -> None:
    assert [ago(100 - past, 100) for past in (0, 59, 61)] == ["0 s", "59 s", "1 min"]
    assert ago(0, 86400 * 12.7) == "12 d"
    assert ago(3600 * 5, 0) == "in 5 h"
    assert (ago(None, 0), moment(None), moment(0)) == ("-", "-", "1970-01-01 00:00Z")


@given(st.text(max_size=400))
def test_nothing_unprintable_is_left_and_what_is_printable_stays(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    shown.encode()
    if text.isprintable() and len(text) <= 300:
        assert shown == text


def test_terminal_and_bidirectional_controls_are_spelled() -> None:
    assert visible("a\x1b[31m\x9b\u202eb\U000e0001\ud800") == "a\\x1b[31m\\x9b\\u202eb\\U000e0001\\ud800"
    assert visible("x" * 500, 10) == "x" * 9 + "…"
