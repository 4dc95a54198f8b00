"""Chrystoki.conf in every mixture: each axis of the grammar crossed with the others, and texts made at random.

HSM_ENROL_FUZZ sets how many texts (10,000 in CI; `make crash` takes a million); the seed is printed with a failure.
"""

import itertools
import os
import random

import pytest

from hsm_enrol import chrystoki
from hsm_enrol.chrystoki import CLIENT, NotUnderstood, changes_between, meaning, parse, with_changes
from hsm_enrol.model import Change

COUNT = int(os.environ.get("HSM_ENROL_FUZZ", "10000"))
CHUNK = 2_500

# --- every axis crossed: the same text is written once with the old and once with the new value

HEADERS = ("{0} = {{", "{0}={{", "  {0} = {{")
SEPARATORS = (" = ", "=", "   =  ", "\t=\t")
COMMENTS = ("", "line", "behind")
BLANKS = ("", "inside", "around")
QUOTES = ("", "'", '"')
DUPLICATES = ("", "key elsewhere", "section elsewhere", "other case")
ENDINGS = ("\n", "\r\n", "none")
AXES = (HEADERS, SEPARATORS, COMMENTS, BLANKS, QUOTES, DUPLICATES, ENDINGS)


def written(value: str, extra: str | None, mixture: tuple[str, ...]) -> str:
    """Write a file by hand: `value` of one key, and an `extra` key behind it if there is one."""
    header, equals, comment, blanks, quote, duplicate, ending = mixture
    around = [""] if blanks == "around" else []
    inside = ["", "  "] if blanks == "inside" else []
    behind = " # why; it = so" if comment == "behind" else ""
    lines = ["Other = {", " ServerName00 = x;", *([" ServerName00 = y;"] if duplicate == "key elsewhere" else []), "}"]
    if duplicate == "section elsewhere":
        lines += ["Twice = {", "}", "Twice = {", " A = 1", "}"]
    lines += [*around, header.format(CLIENT), *inside]
    lines += ["   # ServerName00 = commented;"] if comment == "line" else []
    lines += [f"   servername00{equals}q;"] if duplicate == "other case" else []
    lines += [f"   ServerName00{equals}{quote}{value}{quote};{behind}"]
    lines += [] if extra is None else [f"   ServerName01{equals.translate({9: ' '})}{extra};"]
    lines += [*inside, "}", *around]
    newline = "\r\n" if ending == "\r\n" else "\n"
    text = newline.join(lines)
    return text if ending == "none" else text + newline


def test_each_mixture_changes_by_the_named_bytes_only() -> None:
    mixtures = list(itertools.product(*AXES))
    for mixture in mixtures:
        before = written("old", None, mixture)
        replaced = with_changes(before, [Change(section=CLIENT, key="ServerName00", old="old", new="b c")])
        assert replaced == written("b c", None, mixture), mixture
        added = with_changes(before, [Change(section=CLIENT, key="ServerName01", old=None, new="n")])
        assert added == written("old", "n", mixture), mixture
        removed = with_changes(added, [Change(section=CLIENT, key="ServerName01", old="n", new=None)])
        assert removed == before, mixture
    print(f"chrystoki: {len(mixtures)} mixtures of {len(AXES)} axes")


# --- at random

NAMES = (CLIENT, "VirtualToken", "HASynchronize", "Misc", "A b")
KEYS = ("ServerName00", "ServerPort00", "ServerName01", "NetClient", "A", "my key", "g-1", "VirtualToken00Label")
VALUES = ("", "1", "a", "/usr/x y/z.pem", "'q'", '"q"', "1,2", "x=y", "-1", "http://h/#f", "\udce9", "\u2028", "\x0c")
BREAKS = (" A = 1", "}", "{", " A = 1; B = 2;", "word", " x = ${H};", "M = { A = 1; }", " A = 1; }", "Z = {", "\0")


def text_at_random(rng: random.Random) -> str:
    """Make a file as somebody, or something, may have left it; one in four has a fault."""
    newline = rng.choice(("\n", "\n", "\r\n"))
    lines = [rng.choice(("", "\ufeff", "# top"))]
    for name in rng.choices(NAMES, k=rng.randint(0, 3)):
        lines.append(name + rng.choice((" = {", "={", " ={", "\t=\t{")))
        for _ in range(rng.randint(0, 4)):
            kind = rng.random()
            blank = rng.choice(("", " ", "   ", "\t"))
            if kind < 0.15:
                lines.append(blank + rng.choice(("", "# note", "# x }", "# A = 1;")))
            else:
                equals = rng.choice(("=", " = ", "  =", "\t=\t"))
                lines.append(
                    f"{blank}{rng.choice(KEYS)}{equals}{rng.choice(VALUES)};{rng.choice(('', '', ' ', ' # why'))}"
                )
        lines.append(rng.choice(("}", "}", "}", " }")))
    if rng.random() < 0.25:
        lines.insert(rng.randint(0, len(lines)), rng.choice(BREAKS))
    if rng.random() < 0.1:
        lines = lines[:-1]
    return newline.join(lines) + rng.choice(("", newline))


def changes_at_random(rng: random.Random, text: str) -> list[Change]:
    """Give up to three changes of different keys. Raises NotUnderstood."""
    conf = parse(text)
    places = {(rng.choice(NAMES[:4]), rng.choice((*KEYS[:5], "Fresh", "g-1"))) for _ in range(rng.randint(1, 3))}
    return [
        Change(
            section=section,
            key=key,
            old=chrystoki.get(conf, section, key),
            new=rng.choice((None, "1", "b", "/c d", "1,2", "")),
        )
        for section, key in sorted(places)
    ]


def foreign_lines(text: str, changes: list[Change]) -> list[str]:
    """Give the lines that no change is about: whatever holds none of the keys and is no frame of a section."""
    keys = {one.key for one in changes}
    return [
        line.rstrip("\r").removeprefix("\ufeff")
        for line in text.split("\n")
        if line.strip() and not any(key in line for key in keys) and not line.rstrip().endswith(("{", "}"))
    ]


def judge(text: str, changes: list[Change]) -> None:
    """The laws: the meaning changes by exactly this, every other line stays, twice is once, a replay means the same."""
    after = with_changes(text, changes)
    expected = dict(meaning(parse(text)))
    for one in changes:
        expected.pop((one.section, one.key), None)
        if one.new is not None:
            expected[one.section, one.key] = one.new
    assert meaning(parse(after)) == expected
    left = iter([line.rstrip("\r").removeprefix("\ufeff") for line in after.split("\n")])
    assert all(line in left for line in foreign_lines(text, changes))
    assert with_changes(after, [Change(section=c.section, key=c.key, old=c.new, new=c.new) for c in changes]) == after
    assert after.count("\t") <= text.count("\t")
    assert meaning(parse(with_changes(text, changes_between(text, after)))) == expected
    if all(one.old == one.new for one in changes):
        assert after == text


@pytest.mark.timeout(max(110, COUNT // 100))
@pytest.mark.parametrize("first", range(0, COUNT, CHUNK))
def test_no_text_is_misread_and_none_is_changed_beyond_what_was_asked(first: int) -> None:
    edited = refused = 0
    for seed in range(first, min(first + CHUNK, COUNT)):
        rng = random.Random(seed)
        text = text_at_random(rng)
        try:
            changes = changes_at_random(rng, text)
            judge(text, changes)
            edited += 1
        except NotUnderstood as fault:
            refused += 1 <= fault.line <= text.count("\n") + 1
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {text!r}") from error
    assert edited + refused == min(CHUNK, COUNT - first)
    assert min(edited, refused) > (edited + refused) // 10
    print(f"chrystoki: {edited} texts edited, {refused} refused with their line")
