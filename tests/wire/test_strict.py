"""E1, E4, E7: text and JSON have one reading, or none."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm_enrol.errors import WireError
from hsm_enrol.wire.binding import lp
from hsm_enrol.wire.strict import Fields, b64u_decode, b64u_encode, dump_json, parse_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
LEAVES = st.none() | st.booleans() | st.integers(0, 2**53 - 1) | TEXTS


def _level(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return inner | st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)


VALUES = LEAVES
for _ in range(4):
    VALUES = _level(VALUES)


@given(st.binary())
def test_e1_what_we_encode_decodes_to_the_same_bytes(data: bytes) -> None:
    assert b64u_decode(b64u_encode(data), "x") == data


@given(st.text(max_size=12))
def test_e1_each_value_has_one_spelling(text: str) -> None:
    data = None
    with contextlib.suppress(WireError):
        data = b64u_decode(text, "x")
    assert data is None or b64u_encode(data) == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("QQ==", id="padding"),
        pytest.param("QR", id="tail bits of one byte"),
        pytest.param("QUJ", id="tail bits of two bytes"),
        pytest.param("A", id="one character"),
        pytest.param("QUJDR", id="five characters"),
        pytest.param("QQ\n", id="newline at the end"),
        pytest.param(" QQ", id="blank before"),
        pytest.param("Q Q", id="blank inside"),
        pytest.param("+/+/", id="alphabet of plain base64"),
        pytest.param("\uff11\uff11", id="digits outside ASCII"),
        pytest.param("QQ\0", id="NUL"),
        pytest.param("QUJ\u212a", id="Kelvin sign"),
    ],
)
def test_e1_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(WireError) as caught:
        b64u_decode(text, "member")
    assert (caught.value.rule, caught.value.what) == ("E1", "member")


NESTED = [b'{"a":' * 8 + b"1" + b"}" * 8, b"[" * 8 + b"]" * 8, b'["[[[[[[[[[[{{{{", {"[[[[":"\\"[[[[[[[["}]']


@pytest.mark.parametrize("data", NESTED)
def test_e4_depth_of_eight_is_read_and_brackets_in_texts_do_not_count(data: bytes) -> None:
    assert parse_json(data) == json.loads(data)


HOSTILE = {
    "empty": b"",
    "blank": b" ",
    "not UTF-8": b'"\xff"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "UTF-8 surrogate": b'"\xed\xa0\x80"',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-32 without mark": '{"a":1}'.encode("utf-32-le"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "lone high surrogate": b'"\\ud800"',
    "lone low surrogate": b'"\\udc00x"',
    "surrogates in the wrong order": b'"\\udc00\\ud800"',
    "lone surrogate in a name": b'{"\\ud83d":1}',
    "U+0000 escaped": b'"a\\u0000b"',
    "U+0000 raw": b'"a\x00b"',
    "U+0000 in a name": b'{"\\u0000":1}',
    "U+0000 in a list": b'["a",["\\u0000"]]',
    "control character raw": b'"a\nb"',
    "duplicate name": b'{"a":1,"a":1}',
    "duplicate name by escape": b'{"a":1,"\\u0061":2}',
    "duplicate name at depth": b'{"a":[{"b":{"c":1,"c":2}}]}',
    "duplicate name shadowing another type": b'{"a":{},"a":[]}',
    "NaN": b"NaN",
    "Infinity": b"[Infinity]",
    "minus Infinity": b"[-Infinity]",
    "float": b"1.0",
    "float in depth": b'{"a":[1.5]}',
    "exponent": b"1e2",
    "exponent of zero": b"0E0",
    "negative": b"-1",
    "negative zero": b"-0",
    "two to the 53": b"9007199254740992",
    "long integer": b"1" * 5000,
    "leading zero": b"01",
    "plus": b"+1",
    "hexadecimal": b"0x10",
    "underscore": b"1_000",
    "digits outside ASCII": "\u0661".encode(),
    "digits outside ASCII after one": "1\uff11".encode(),
    "trailing text": b"{}x",
    "two values": b"{}{}",
    "trailing comma": b'{"a":1,}',
    "comment": b"{}//",
    "single quotes": b"{'a':1}",
    "no quotes": b"{a:1}",
    "unclosed": b'{"a":[1',
    "depth of nine": b"[" * 9 + b"]" * 9,
    "depth of nine in objects": b'{"a":' * 9 + b"1" + b"}" * 9,
    "depth of a hundred thousand": b"[" * 100_000,
    "depth hidden behind an escaped quote": b'["\\"",' + b"[" * 8 + b"]" * 9,
    "non-breaking blank": b"\xc2\xa0{}",
    "form feed": b"\x0c{}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_e4_json_with_two_readings_is_refused(name: str) -> None:
    with pytest.raises(WireError) as caught:
        parse_json(HOSTILE[name])
    assert caught.value.rule == "E4"


def test_e4_a_text_that_never_ends_is_passed_once() -> None:
    # 120,000 quotes, each of which could begin a text: looking for the end from every one would take hours.
    with pytest.raises(WireError, match="E4"):
        parse_json(b'{"a":"' + b'\\"' * 120_000)


@given(VALUES)
def test_e4_what_we_write_is_read_as_it_was(value: Any) -> None:
    data = dump_json(value)
    assert parse_json(data) == value
    assert dump_json(parse_json(data)) == data


@given(st.binary(max_size=64) | st.text(max_size=64).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_e4_whatever_comes_is_read_or_refused_by_rule(data: bytes) -> None:
    with contextlib.suppress(WireError):
        value = parse_json(data)
        assert parse_json(dump_json(value)) == value


def test_e4_what_lies_side_by_side_is_not_deep() -> None:
    assert parse_json(b"[" + b"[],{}," * 100 + b"0]") == [[], {}] * 100 + [0]


def test_e4_a_bound_itself_is_within() -> None:
    assert [Fields({"a": value}, "thing").integer("a", least=1, most=2) for value in (1, 2)] == [1, 2]


def test_e4_the_largest_integer_is_read() -> None:
    assert parse_json(b"9007199254740991") == 2**53 - 1
    assert parse_json(b"0") == 0


def test_e4_a_fault_never_holds_the_text() -> None:
    for data in (b'{"CANARY":1,"CANARY":2}', b'["CANARY",1.5]', b'CANARY"', b'"CANARY\\u0000"'):
        with pytest.raises(WireError) as caught:
            parse_json(data)
        assert "CANARY" not in str(caught.value)
        assert caught.value.__cause__ is None


WRONG: dict[str, Callable[[], object]] = {
    "not an object": lambda: Fields([], "thing"),
    "missing": lambda: Fields({}, "thing").take("a"),
    "missing text": lambda: Fields({}, "thing").text("a", "x"),
    "null is not absent": lambda: Fields({"a": None}, "thing").optional_text("a", "x"),
    "text is a number": lambda: Fields({"a": 1}, "thing").text("a", ".*"),
    "text with a newline at its end": lambda: Fields({"a": "x\n"}, "thing").text("a", "x"),
    "text with more after it": lambda: Fields({"a": "xy"}, "thing").text("a", "x"),
    "digits outside ASCII": lambda: Fields({"a": "\u0661"}, "thing").text("a", r"\d"),
    "boolean is no integer": lambda: Fields({"a": True}, "thing").integer("a"),
    "text is no integer": lambda: Fields({"a": "1"}, "thing").integer("a"),
    "integer too small": lambda: Fields({"a": 0}, "thing").integer("a", least=1),
    "integer too large": lambda: Fields({"a": 3}, "thing").integer("a", most=2),
    "integer is no boolean": lambda: Fields({"a": 1}, "thing").boolean("a"),
    "another word": lambda: Fields({"a": "c"}, "thing").word("a", "b"),
    "word in a list": lambda: Fields({"a": ["b"]}, "thing").word("a", "b"),
    "list is a text": lambda: Fields({"a": "bb"}, "thing").items("a", 1, 2),
    "list too short": lambda: Fields({"a": []}, "thing").items("a", 1, 2),
    "list too long": lambda: Fields({"a": [1, 1, 1]}, "thing").items("a", 1, 2),
    "item of another type": lambda: Fields({"a": [1]}, "thing").texts("a", "b", 1, 2),
    "item of another form": lambda: Fields({"a": ["c"]}, "thing").texts("a", "b", 1, 2),
    "item twice": lambda: Fields({"a": ["b", "b"]}, "thing").texts("a", "b", 1, 2),
    "object is a list": lambda: Fields({"a": []}, "thing").fields("a"),
    "something is left": Fields({"a": 1}, "thing").nothing_else,
}


@pytest.mark.parametrize("name", WRONG)
def test_e4_a_member_outside_the_closed_schema_is_refused(name: str) -> None:
    with pytest.raises(WireError) as caught:
        WRONG[name]()
    assert caught.value.rule == "E4"
    assert caught.value.what.startswith("thing")


def test_e4_members_are_taken_once_and_all() -> None:
    fields = Fields({"a": "b", "c": ["d"], "e": 1, "f": False, "g": {"h": "i"}}, "thing")
    assert fields.word("a", "b") == "b"
    assert fields.texts("c", "d", 1, 1) == ("d",)
    assert (fields.integer("e"), fields.boolean("f"), fields.has("z"), fields.optional_text("z", "")) == (
        1,
        False,
        False,
        None,
    )
    assert fields.fields("g").optional_text("h", "i") == "i"
    fields.nothing_else()


PARTS = st.lists(st.binary(max_size=6), max_size=4)


@given(PARTS, PARTS)
def test_e7_two_lists_of_parts_never_give_the_same_bytes(one: list[bytes], other: list[bytes]) -> None:
    assert (lp(*one) == lp(*other)) == (one == other)


def test_e7_length_goes_before_each_part() -> None:
    assert lp(b"ab", b"", b"c") == b"\0\0\0\2ab\0\0\0\0\0\0\0\1c"
