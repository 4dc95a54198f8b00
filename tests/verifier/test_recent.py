"""The audit's newest lines, the moments of a time line, and texts that somebody else wrote."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm_verifier.admin.recent import KEPT, Recent, matching, read_line
from hsm_verifier.admin.timeline import HEIGHT, SPANS, WIDTH, draw
from hsm_verifier.admin.words import ago, moment
from hsm_verifier.audit import Audit
from hsm_verifier.visible import visible
from tests.verifier.party import INSTANCE


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
    for put_away in (path, path.with_name("audit.jsonl.head")):
        put_away.unlink()
    Audit(path).write("start", 3.0)
    assert [one.event for one in recent.lines()] == ["start"]


def test_lines_that_were_taken_back_are_forgotten_also_when_others_took_their_place(tmp_path: Path) -> None:
    """A full disk: seen while they were being written, then cut off; before the next look more was written."""
    path = tmp_path / "audit.jsonl"
    recent, audit = Recent(path), Audit(path)
    audit.write("start", 1.0)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"event":"enrolment","instance":"never answered"}\n')
    assert len(recent.lines()) == 2
    os.truncate(path, size)
    for number in range(5):
        audit.write("grant", 2.0, instance=str(number))
    assert [one.instance for one in recent.lines()] == ["4", "3", "2", "1", "0", ""]


def test_a_long_audit_is_entered_near_its_end_at_the_begin_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text("".join(json.dumps({"event": "e", "instance": str(number)}) + "\n" for number in range(100)))
    monkeypatch.setattr("hsm_verifier.admin.recent.BEGIN", 100)
    recent = Recent(path)
    assert [one.instance for one in recent.lines()] == ["99", "98", "97"]
    assert KEPT >= 10_000
    with path.open("a") as file:  # and as it grows no more is kept of it
        file.writelines(json.dumps({"event": "e", "instance": str(number)}) + "\n" for number in range(60, 80))
    assert [one.instance for one in recent.lines()] == ["79", "78", "77"]


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
