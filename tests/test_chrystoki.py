"""Chrystoki.conf: every shape that real clients write, and only the named bytes change."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsm_enrol import chrystoki
from hsm_enrol.chrystoki import BadValue, NotUnderstood, Stale, changes_between, meaning, parse, with_changes
from hsm_enrol.model import Change

L = "LunaSA Client"


def edit(text: str, *edits: str, section: str = L) -> str:
    """Apply `key=value` or `-key`, with `old` taken from the text."""
    conf = parse(text)
    changes = []
    for one in edits:
        key, equals, value = one.partition("=")
        key = key.removeprefix("-") if not equals else key
        changes.append(
            Change(section=section, key=key, old=chrystoki.get(conf, section, key), new=value if equals else None)
        )
    return with_changes(text, changes)


@pytest.mark.parametrize(
    ("text", "edits", "result"),
    [
        (f"{L} = {{\n   NetClient = 1;\n}}\n", ["NetClient=0"], f"{L} = {{\n   NetClient = 0;\n}}\n"),
        (
            f"{L}={{\nServerPort00=1792;\nServerName00=a;\n}}\n",
            ["ServerName01=b"],
            f"{L}={{\nServerPort00=1792;\nServerName00=a;\nServerName01=b;\n}}\n",
        ),
        (
            f"{L} = {{\n  ServerName00 = a;\n  ServerHtl00  = 0;\n}}\n",
            ["ServerHtl01=0"],
            f"{L} = {{\n  ServerName00 = a;\n  ServerHtl00  = 0;\n  ServerHtl01  = 0;\n}}\n",
        ),
        (f"{L} = {{\n ServerHtl00 = ;\n}}\n", ["ServerHtl00=0"], f"{L} = {{\n ServerHtl00 = 0;\n}}\n"),
        (f"{L}={{\nServerHtl00=;\n}}\n", ["ServerHtl00=0"], f"{L}={{\nServerHtl00=0;\n}}\n"),
        (
            f"{L} = {{\n ClientCertFile = '/a b';\n}}\n",
            ["ClientCertFile=/c"],
            f"{L} = {{\n ClientCertFile = '/c';\n}}\n",
        ),
        (f'{L} = {{\n X = "1";\n}}\n', ["X=1"], f'{L} = {{\n X = "1";\n}}\n'),
        (f"{L} = {{\r\n A = 1;\r\n}}\r\n", ["B=2"], f"{L} = {{\r\n A = 1;\r\n B = 2;\r\n}}\r\n"),
        (
            f"M = {{\n A = 1;\n}}\n{L} = {{\n NetClient = 1;\n",
            ["ServerName00=a"],
            f"M = {{\n A = 1;\n}}\n{L} = {{\n NetClient = 1;\n ServerName00 = a;\n",
        ),
        (
            f"# top\n{L} = {{\n # A = 9;\n A = 1; # why\n}}\n# end\n",
            ["A=2"],
            f"# top\n{L} = {{\n # A = 9;\n A = 2; # why\n}}\n# end\n",
        ),
        (
            f"{L} = {{\n\tServerName00\t=\ta;\n\t}}\n",
            ["ServerName01=b"],
            f"{L} = {{\n\tServerName00\t=\ta;\n   ServerName01 = b;\n\t}}\n",
        ),
        (
            f"M = {{\n A = 1\n}}\n{L} = {{\n B = 1;\n}}\n",
            ["B=2"],
            f"M = {{\n A = 1\n}}\n{L} = {{\n B = 2;\n}}\n",
        ),
        (f"M = {{ A = 1; }}\n{L} = {{\n B = 1;\n}}\n", ["B=2"], f"M = {{ A = 1; }}\n{L} = {{\n B = 2;\n}}\n"),
        (f"M = {{\n A = 1; }}\n{L} = {{\n B = 1;\n}}\n", ["B=2"], f"M = {{\n A = 1; }}\n{L} = {{\n B = 2;\n}}\n"),
        ("", ["NetClient=1"], f"{L} = {{\n   NetClient = 1;\n}}\n"),
        (
            f"{L} = {{\n A = x\x0c\u2028\udce9y;\n B = 1;\n}}\n",
            ["B=2"],
            f"{L} = {{\n A = x\x0c\u2028\udce9y;\n B = 2;\n}}\n",
        ),
        (f"{L} = {{\n my group = 1;\n}}\n", ["g=1"], f"{L} = {{\n my group = 1;\n g = 1;\n}}\n"),
        (f"{L} = {{\n U = http://h/?a=b#c;\n}}\n", ["U=x"], f"{L} = {{\n U = x;\n}}\n"),
        (
            f"{L} = {{\n ServerName00 = a;\n ServerName01 = b;\n}}\n",
            ["ServerName00=b", "-ServerName01"],
            f"{L} = {{\n ServerName00 = b;\n}}\n",
        ),
        (f"{L} = {{\n\n A = 1;\n\n}}\n", ["B=2"], f"{L} = {{\n\n A = 1;\n B = 2;\n\n}}\n"),
        (
            f"\ufeff{L} = {{\n A = 1;\n ServerName001 = x;\n ServerName00 = a;\n}}\n",
            ["A=2", "ServerName00=b"],
            f"\ufeff{L} = {{\n A = 2;\n ServerName001 = x;\n ServerName00 = b;\n}}\n",
        ),
        (f"{L} = {{\n A = 1;\n A = 2;\n}}\n", ["B=3"], f"{L} = {{\n A = 1;\n A = 2;\n B = 3;\n}}\n"),
    ],
)
def test_only_the_named_bytes_change(text: str, edits: list[str], result: str) -> None:
    assert edit(text, *edits) == result
    assert edit(result, *edits) == result


@pytest.mark.parametrize(
    ("text", "section", "edits", "result"),
    [
        (f"{L} = {{\n A = 1;\n}}", "V", ["k=g"], f"{L} = {{\n A = 1;\n}}\nV = {{\n   k = g;\n}}\n"),
        (
            f"M = {{\n A = 1;\n}}\n{L} = {{\n NetClient = 1;\n",
            "H",
            ["HAOnly=1"],
            f"M = {{\n A = 1;\n}}\nH = {{\n   HAOnly = 1;\n}}\n{L} = {{\n NetClient = 1;\n",
        ),
        ("M = {\n A = 1;\n", "H", ["g=1"], "H = {\n   g = 1;\n}\nM = {\n A = 1;\n"),
        ("\ufeffM = {\n A = 1;\n", "H", ["g=1"], "\ufeffH = {\n   g = 1;\n}\nM = {\n A = 1;\n"),
        ("\ufeffM = {\n A = 1;\n}\n", "M", ["-A"], "\ufeff"),
        ("\ufeff", "M", ["A=1"], "\ufeffM = {\n   A = 1;\n}\n"),
        (
            "H = {\n ReconnAtt = 20;\n}\n",
            "H",
            ["reconnAtt=-1"],
            "H = {\n ReconnAtt = 20;\n reconnAtt = -1;\n}\n",
        ),
        ("A = {\n}\nS = {\n g = 1;\n}\nB = {\n x = 1;\n}\n", "S", ["-g"], "A = {\n}\nB = {\n x = 1;\n}\n"),
        ("S = {\n # keep\n g = 1;\n}\n", "S", ["-g"], "S = {\n # keep\n}\n"),
        (
            "V = {\n VirtualToken00Members = 1,2;\n VirtualToken00SN = 11;\n VirtualToken00Label = g;\n}\n",
            "V",
            ["VirtualToken01Label=h", "VirtualToken01SN=12", "VirtualToken01Members=3"],
            (
                "V = {\n VirtualToken00Members = 1,2;\n VirtualToken00SN = 11;\n VirtualToken00Label = g;\n"
                " VirtualToken01Label = h;\n VirtualToken01SN = 12;\n VirtualToken01Members = 3;\n}\n"
            ),
        ),
        (f"{L} = {{\n A = 1;\n}}\n{L} = {{\n A = 2;\n}}\nM = {{\n x = 1;\n}}\n", "M", ["x=2"], None),
    ],
)
def test_sections_come_and_go(text: str, section: str, edits: list[str], result: str | None) -> None:
    assert edit(text, *edits, section=section) == (result or text.replace("x = 1", "x = 2"))


@pytest.mark.parametrize(
    ("text", "section", "line"),
    [
        (f"M = {{\n A = 1;\n{L} = {{\n B = 1;\n}}\n", L, 3),
        (f"{L} = {{\n A = 1;\n A = 2;\n}}\n", L, 3),
        (f"{L} = {{\n A = 1;\n}}\n{L} = {{\n A = 2;\n}}\n", L, 4),
        (f"{L} = {{\n # x }}\n A = 1;\n}}\n}}\n", L, 5),
        ("M = {\n A = 1\n}\n", "M", 2),
        (f"{L} = {{\n A = 1; B = 2;\n}}\n", L, 2),
        ("M = { A = 1; }\n", "M", 1),
        ("M = {\n A = 1; }\n", "M", 2),
        ("M = {\n A = 1;\n}\n}\n", "M", 4),
        ("M =\n{\n A = 1;\n}\n", "M", 1),
        (f"{L} = {{\n x = ${{HOME}};\n}}\n", L, 2),
        (f"{L} = {{\n A = \0;\n}}\n", L, 2),
        ("hello\n", L, 1),
    ],
)
def test_what_has_no_single_reading_is_an_error_with_its_line(text: str, section: str, line: int) -> None:
    with pytest.raises(NotUnderstood) as caught:
        edit(text, "A=3", section=section)
    assert caught.value.line == line


@pytest.mark.parametrize(
    "value", ["a;\n}\nEvil = {", "a;b", "{", " a", "a ", "'a", '"a', "caf\u00e9", "a\tb", "a\x00", "a\rb"]
)
def test_a16_no_value_can_write_a_line_of_its_own(value: str) -> None:
    with pytest.raises(BadValue):
        with_changes("not even a conf }", [Change(section=L, key="A", old=None, new=value)])


@pytest.mark.parametrize("key", ["a b", "", "a=b", "}", "a\nb", "x" * 65])
def test_a16_no_key_can_either(key: str) -> None:
    with pytest.raises(BadValue):
        with_changes("", [Change(section=L, key=key, old=None, new="1")])


def test_a_key_that_somebody_else_changed_is_stale() -> None:
    with pytest.raises(Stale) as caught:
        with_changes(f"{L} = {{\n A = 1;\n}}\n", [Change(section=L, key="A", old="5", new="2")])
    assert (caught.value.section, caught.value.key) == (L, "A")


def test_a_line_of_blanks_costs_no_time() -> None:
    assert parse(" " * 400_000 + "\n" + f"{L} = {{\n A{' ' * 200_000}=1;\n}}\n").sections[0].entries[0].value == "1"


def test_servers_and_groups_are_found_by_number() -> None:
    conf = parse(
        f"{L} = {{\n ServerName00 = a;\n ServerPort00 = 1792;\n ServerName07 = b;\n}}\n"
        "VirtualToken = {\n VirtualToken00Label = g;\n VirtualToken00SN = 11;\n VirtualToken00Members = 1, 2;\n"
        " VirtualTokenActiveRecovery = activeEnhanced;\n}\n"
    )
    assert {number: one.name for number, one in chrystoki.servers(conf).items()} == {0: "a", 7: "b"}
    assert chrystoki.groups(conf)[0].members == ("1", "2")


# --- laws

KEYS = st.sampled_from(["ServerName00", "ServerPort00", "ServerName01", "NetClient", "A", "my key", "g-1"])
VALUES = st.sampled_from(["", "1", "a", "/usr/x y/z.pem", "'q'", '"q"', "1,2", "x=y", "-1", "http://h/#f"])
BLANKS = st.sampled_from(["", " ", "   ", "\t", "  "])


@st.composite
def lines(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["entry", "entry", "entry", "blank", "comment", "odd"]))
    if kind == "blank":
        return draw(BLANKS)
    if kind == "comment":
        return draw(BLANKS) + "# " + draw(st.sampled_from(["note", "A = 1;", "x }", ""]))
    if kind == "odd":
        return draw(st.sampled_from([" A = 1", " A = 1; B = 2;", "word"]))
    after = draw(st.sampled_from(["", " ", " # why"]))
    return f"{draw(BLANKS)}{draw(KEYS)}{draw(BLANKS)}={draw(BLANKS)}{draw(VALUES)};{after}"


@st.composite
def texts(draw: st.DrawFn) -> str:
    end = draw(st.sampled_from(["\n", "\r\n"]))
    out = draw(st.sampled_from(["", "\ufeff", "# top" + end]))
    for name in draw(st.lists(st.sampled_from([L, "VirtualToken", "M", "Misc", "S"]), max_size=4)):
        header = name + draw(st.sampled_from([" = {", "={", " ={"]))
        body = "".join(line + end for line in draw(st.lists(lines(), max_size=6)))
        out += header + end + body + "}" + end + draw(st.sampled_from(["", end]))
    if draw(st.booleans()):
        out = out.removesuffix(end)
    return out


CHANGES = st.lists(
    st.tuples(
        st.sampled_from([L, "VirtualToken", "M", "New"]),
        st.sampled_from(["ServerName00", "NetClient", "A", "g-1", "Fresh"]),
        st.sampled_from([None, "1", "b", "/c d", "1,2"]),
    ),
    max_size=4,
    unique_by=lambda one: one[:2],
)
Wanted = list[tuple[str, str, str | None]]


def as_changes(text: str, wanted: Wanted) -> list[Change] | None:
    try:
        conf = parse(text)
        return [Change(section=s, key=k, old=chrystoki.get(conf, s, k), new=v) for s, k, v in wanted]
    except NotUnderstood:
        return None


@settings(max_examples=300, deadline=None)
@given(texts(), CHANGES)
def test_law_the_meaning_changes_by_exactly_what_was_asked(text: str, wanted: Any) -> None:
    changes = as_changes(text, wanted)
    if changes is None:
        return
    after = with_changes(text, changes)
    expected = dict(meaning(parse(text)))
    for section, key, value in wanted:
        expected.pop((section, key), None)
        if value is not None:
            expected[section, key] = value
    assert meaning(parse(after)) == expected
    again = as_changes(after, wanted)
    assert again is not None
    assert with_changes(after, again) == after
    assert after.count("\t") <= text.count("\t")
    replay = with_changes(text, changes_between(text, after))
    assert meaning(parse(replay)) == expected


@settings(max_examples=150, deadline=None)
@given(texts(), CHANGES)
def test_law_every_line_without_a_named_key_stays(text: str, wanted: Any) -> None:
    changes = as_changes(text, wanted)
    if changes is None:
        return
    after = with_changes(text, changes)
    named = {key for _, key, _ in wanted}
    foreign = [
        line for line in text.split("\n") if "=" in line and "{" not in line and not any(k in line for k in named)
    ]
    left = iter(after.split("\n"))
    assert all(any(line.rstrip("\r") == other.rstrip("\r") for other in left) for line in foreign)


@settings(max_examples=150, deadline=None)
@given(texts(), CHANGES)
def test_law_the_order_of_edits_does_not_matter(text: str, wanted: Any) -> None:
    changes = as_changes(text, wanted)
    if changes is None:
        return
    results = {
        frozenset(meaning(parse(with_changes(text, order))).items())
        for order in itertools.islice(itertools.permutations(changes), 6)
    }
    assert len(results) == 1


@settings(max_examples=150, deadline=None)
@given(texts())
def test_law_adding_then_removing_gives_the_old_meaning(text: str) -> None:
    add = as_changes(text, [(L, "Fresh", "1")])
    if add is None or add[0].old is not None:
        return
    there = with_changes(text, add)
    back = with_changes(there, [Change(section=L, key="Fresh", old="1", new=None)])
    assert meaning(parse(back)) == meaning(parse(text))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("aA1 =;{}#\n\r\t'\"\ufeff\udcff"), max_size=80))
def test_any_text_is_read_or_refused_and_never_crashes(text: str) -> None:
    line = 1
    try:
        assert parse(text).text == text
    except NotUnderstood as fault:
        line = fault.line
    assert 1 <= line <= text.count("\n") + 1
