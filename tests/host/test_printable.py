import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm_enrol.host.printable import MOST, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ask for a new challenge", "ask for a new challenge"),
        ("Gerät nicht zugelassen", "Gerät nicht zugelassen"),
        ("\x1b[2J\x1b]0;title\x07red", "[2J]0;titlered"),
        ("\x9b31mred", "31mred"),
        ("one\nJan 1 sshd: FAKE\r\ntwo", "one Jan 1 sshd: FAKE two"),
        ("a\u202ecod.exe\u202c b\u2066c\u2069", "acod.exe bc"),
        ("ze\u200bro wi\ufeffdth", "zero width"),
        ("a\u2028b\u2029c\td", "a b c d"),
        ("\ud800lone", "lone"),
        ("\x00\x7f", ""),
        ("x" * 301, "x" * 297 + "..."),
        ("x" * 300, "x" * 300),
        ("\x00" * 10**6 + "late", ""),
    ],
)
def test_what_a_stranger_wrote_is_shown_without_its_tricks(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(max_size=700))
def test_whatever_is_written_becomes_one_bounded_printable_line(text: str) -> None:
    shown = printable(text)
    assert len(shown) <= MOST
    assert not any(unicodedata.category(one)[0] == "C" or unicodedata.category(one) in {"Zl", "Zp"} for one in shown)
    assert printable(shown) == shown
