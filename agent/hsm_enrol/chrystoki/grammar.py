"""Knows the grammar of Chrystoki.conf: sections, entries, comments, each with its place in the text.

The strictest reading of `Section = {`, `key = value;`, `}`, blank and `#` lines. A section that has a line of another
kind is kept, and marked `odd`. No regular expression reads lines: the obvious one takes minutes on a line of blanks.
"""

from __future__ import annotations

import functools
from dataclasses import field

from hsm_enrol.shapes import dataclass

MAX_BYTES = 1 << 20


class NotUnderstood(Exception):
    """The text, or the section asked for, has no single reading; `line` counts from 1, `fault` is a fixed word."""

    def __init__(self, line: int, fault: str) -> None:
        """Never hold a value: a REST secret may stand in this file."""
        super().__init__(f"line {line}: {fault}")
        self.line, self.fault = line, fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One `key = value;`. `line` from 1; the offsets are of key and value in the text; value as written, quotes on."""

    key: str
    value: str = field(repr=False)
    line: int
    start: int
    key_at: int
    value_at: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section. `start`: its header line, `body`: after that line, `end`: the line with `}`, `after`: behind it.

    `odd` is the first line that is neither entry, blank nor comment, with the fault; `commented`: a comment is there.
    """

    name: str
    line: int
    start: int
    body: int
    end: int
    after: int
    closed: bool
    entries: tuple[Entry, ...]
    odd: tuple[int, str] | None
    commented: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Conf:
    """A parsed file: its text, its sections in order, and the line end it uses."""

    text: str = field(repr=False)
    sections: tuple[Section, ...]
    newline: str


def decode(content: bytes) -> str:
    """Give the text of a file: every byte survives, also those that are no UTF-8."""
    return content.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """Give the bytes back."""
    return text.encode("utf-8", "surrogateescape")


@dataclass(slots=True)
class _Open:
    """A section while it is read."""

    name: str
    line: int
    start: int
    body: int
    entries: list[Entry] = field(default_factory=list)
    odd: tuple[int, str] | None = None
    commented: bool = False

    def close(self, end: int, after: int, *, closed: bool) -> Section:
        return Section(
            name=self.name,
            line=self.line,
            start=self.start,
            body=self.body,
            end=end,
            after=after,
            closed=closed,
            entries=tuple(self.entries),
            odd=self.odd,
            commented=self.commented,
        )


@functools.lru_cache(maxsize=4)  # before and after, wanted and found: one run reads the same text many times
def parse(text: str) -> Conf:
    """Read a file's text. Raises NotUnderstood for NUL, a stray `}`, a section inside a section, or over 1 MiB."""
    if "\0" in text:
        raise NotUnderstood(text[: text.index("\0")].count("\n") + 1, "NUL")
    if len(text) > MAX_BYTES:
        raise NotUnderstood(1, "larger than 1 MiB")
    sections: list[Section] = []
    inside: _Open | None = None
    at = 0
    for number, raw in enumerate(text.split("\n"), 1):
        start, at = at, min(at + len(raw) + 1, len(text))
        bare = raw.lstrip("\ufeff").strip() if number == 1 else raw.strip()
        if not bare or bare.startswith("#"):
            if inside and bare:
                inside.commented = True
        elif bare == "}":
            if inside is None:
                raise NotUnderstood(number, "stray }")
            sections.append(inside.close(start, at, closed=True))
            inside = None
        elif bare.endswith("{"):
            name = bare[:-1].rstrip().removesuffix("=").strip()
            if inside is not None:
                raise NotUnderstood(number, "section inside a section")
            if not bare[:-1].rstrip().endswith("=") or not name or any(one in name for one in "={};"):
                raise NotUnderstood(number, "not a section header")
            mark = len(raw) - len(raw.lstrip("\ufeff")) if number == 1 else 0  # it is the file's, not the section's
            inside = _Open(name, number, start + mark, at)
        else:
            inside = _inner(inside, raw, _Place(number, start, at), sections)
    if inside is not None:
        sections.append(inside.close(len(text), len(text), closed=False))
    return Conf(text=text, sections=tuple(sections), newline=_newline(text))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a line stands: its number from 1, its offset, the offset behind it."""

    number: int
    start: int
    after: int


def _inner(inside: _Open | None, raw: str, place: _Place, sections: list[Section]) -> _Open | None:
    """Read a line that is neither blank, comment, header nor a plain closing brace."""
    bare, number, start, at = raw.strip(), place.number, place.start, place.after
    if inside is None:
        # A section on one line (`M = { A = 1; }`) is kept as it is, and not edited.
        name, equals, rest = bare.partition("=")
        rest = rest.strip()
        if equals and rest.startswith("{") and rest.endswith("}") and rest.count("{") == rest.count("}") == 1:
            one_line = _Open(name.strip(), number, start, at, odd=(number, "a section on one line"))
            sections.append(one_line.close(at, at, closed=True))
            return None
        raise NotUnderstood(number, "stray }" if bare.startswith("}") else "text outside of a section")
    if "{" in bare:
        raise NotUnderstood(number, "section inside a section" if "}" not in bare else "stray }")
    ends = bare.partition("#")[0].rstrip().endswith("}")
    entry = None if ends else _entry(raw, number, start)
    if ends:
        inside.odd = inside.odd or (number, "a brace behind an entry")
        sections.append(inside.close(start, at, closed=True))
        return None
    if "}" in bare and entry is None:
        raise NotUnderstood(number, "stray }")
    if entry is None:
        inside.odd = inside.odd or (number, "not a line of key = value;")
    else:
        inside.entries.append(entry)
    return inside


def _entry(raw: str, number: int, start: int) -> Entry | None:
    """Read `key = value;` with at most a comment behind it; None when the line is anything else."""
    left, equals, right = raw.partition("=")
    value, semicolon, rest = right.partition(";")
    rest = rest.strip()
    if not equals or not semicolon or (rest and not rest.startswith("#")) or "#" in left:
        return None
    key = left.strip().lstrip("\ufeff").strip()
    if not key or "}" in value:
        return None
    value_at = start + len(left) + 1 + len(value) - len(value.lstrip())
    if not value.strip():
        value_at = start + len(left) + 1 + (1 if value.startswith(" ") else 0)
    return Entry(
        key=key,
        value=value.strip(),
        line=number,
        start=start,
        key_at=start + raw.index(key),
        value_at=value_at,
        end=start + len(raw),
    )


def _newline(text: str) -> str:
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"
