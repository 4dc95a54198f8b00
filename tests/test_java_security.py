"""java.security: one line in, the same line out, nothing else touched, and no guess where the numbering is odd."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm_enrol.errors import NotUnderstood
from hsm_enrol.java_security import PROVIDER, logical_lines, with_provider, without_provider

OURS = f"={PROVIDER}"
PLAIN = "# list of providers\nsecurity.provider.1=SUN\nsecurity.provider.2=SunRsaSign\n\nkeystore.type=pkcs12\n"
PATH = "/opt/java.security"


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (PLAIN, PLAIN.replace("SunRsaSign\n", f"SunRsaSign\nsecurity.provider.3{OURS}\n")),
        ("security.provider.1=SUN\r\nx=1\r\n", f"security.provider.1=SUN\r\nsecurity.provider.2{OURS}\r\nx=1\r\n"),
        ("security.provider.1=SUN", f"security.provider.1=SUN\nsecurity.provider.2{OURS}"),
        (" security.provider.1 : X\n", f" security.provider.1 : X\nsecurity.provider.2{OURS}\n"),
        (
            "security.provider.1=SunPKCS11 \\\n   /etc/cfg\nx=1\n",
            f"security.provider.1=SunPKCS11 \\\n   /etc/cfg\nsecurity.provider.2{OURS}\nx=1\n",
        ),
        ("security.provider.1=C\\\\\n", f"security.provider.1=C\\\\\nsecurity.provider.2{OURS}\n"),
        ("#security.provider.9=X\nsecurity.provider.1=S\n", None),
        ("", f"security.provider.1{OURS}\n"),
        ("security.provider.tbd=X\nsecurity.provider.1=S\n", None),
        ("a=caf\xe9\nsecurity.provider.1=S\n", None),
    ],
)
def test_the_provider_comes_after_the_last_one_and_goes_without_a_trace(text: str, after: str | None) -> None:
    before = text.encode("latin-1")
    added = with_provider(before, PATH)
    if after is not None:
        assert added == after.encode("latin-1")
    assert PROVIDER.encode() in added
    assert with_provider(added, PATH) == added
    assert without_provider(added, PATH) == before
    assert without_provider(before, PATH) == before


def test_one_that_is_there_under_any_number_is_left() -> None:
    text = f"security.provider.1{OURS}\nsecurity.provider.2=SUN\n".encode()
    assert with_provider(text, PATH) == text


def test_taking_it_out_of_the_middle_renumbers_the_later_ones() -> None:
    text = f"security.provider.1=A\nsecurity.provider.2{OURS}\nsecurity.provider.3 = C\nsecurity.provider.4=D\n"
    after = "security.provider.1=A\nsecurity.provider.2 = C\nsecurity.provider.3=D\n"
    assert without_provider(text.encode(), PATH) == after.encode()


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("security.provider.1=A\nsecurity.provider.3=B\n", 1, "2 is missing"),
        ("security.provider.2=B\n", 1, "1 is missing"),
        ("security.provider.1=A\n\nsecurity.provider.1=B\n", 3, "twice"),
        ("security.provider.1=A\nsecurity.provider.02=B\n", 2, "twice"),
        ("security.provider.1=A\nsecurity.\\provider.2=B\n", 2, "escapes"),
        ("security.provider.1=A\ny : 2 \\\n", 2, "continued by nothing"),
    ],
)
def test_odd_numbering_is_refused_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(NotUnderstood) as fault:
        with_provider(text.encode(), PATH)
    assert (fault.value.facts["path"], fault.value.facts["line"]) == (PATH, line)
    assert what in str(fault.value.facts["what"])


LINES = st.sampled_from(
    [
        "# comment",
        "! other",
        "",
        "   ",
        "x=1",
        "y : 2 \\",
        "  continued",
        "z=a\\\\",
        "keystore.type=pkcs12",
        "w\\=v = 1",
    ]
)


@given(
    st.lists(LINES, max_size=8), st.integers(0, 4), st.lists(LINES, max_size=8), st.sampled_from(["\n", "\r\n", "\r"])
)
def test_whatever_stands_around_stays_byte_for_byte(head: list[str], count: int, tail: list[str], newline: str) -> None:
    numbered = [f"security.provider.{number}=P{number}" for number in range(1, count + 1)]
    # A continuation in front would swallow the first provider's line; that text has another meaning.
    # One at the very end would swallow ours: refused, see above.
    lines = [*(one for one in head if not one.endswith(" \\")), *numbered, *tail, *["end=1"][: bool(tail)]]
    before = newline.join([*lines, ""]).encode("latin-1")
    after = with_provider(before, PATH)
    assert without_provider(after, PATH) == before
    keys = [line.key for line in logical_lines(after.decode("latin-1"))]
    assert keys.count(f"security.provider.{count + 1}") == 1
    assert len(keys) == len(logical_lines(before.decode("latin-1"))) + 1
