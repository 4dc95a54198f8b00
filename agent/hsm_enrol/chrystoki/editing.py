"""Knows how to change named keys of a Chrystoki.conf and leave every other byte alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field

from hsm_enrol.chrystoki.grammar import Conf, Entry, Section, parse
from hsm_enrol.chrystoki.reading import QUOTES, entry_of, find, has_one_reading, meaning, unquoted
from hsm_enrol.model import Change
from hsm_enrol.shapes import dataclass

INDENT = "   "
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_Piece = tuple[int, int, str]  # from and to, and what comes there instead


class Stale(Exception):
    """A key is neither what the change expects nor what it wants: somebody else wrote."""

    def __init__(self, section: str, key: str) -> None:
        """Name the place."""
        super().__init__(f"{section} / {key}")
        self.section, self.key = section, key


class BadValue(Exception):
    """A value or key that must never be written into this file."""

    def __init__(self, section: str, key: str) -> None:
        """Name the place."""
        super().__init__(f"{section} / {key}")
        self.section, self.key = section, key


def with_changes(text: str, changes: Iterable[Change]) -> str:
    """Give the text with exactly these changes made. Raises BadValue (before any reading), NotUnderstood, Stale."""
    changes = tuple(changes)
    for change in changes:
        _check_value(change)
    draft = _Draft(parse(text))
    for change in [change for change in changes if _is_wanted(draft.conf, change)]:
        draft.note(change)
    return draft.text()


def changes_between(old: str, new: str) -> tuple[Change, ...]:
    """Give the changes that lead from one text's meaning to the other's. Raises NotUnderstood.

    What had no one reading in the old text cannot have changed its meaning: who writes a file whole gives it one.
    """
    conf = parse(old)
    before, after = meaning(conf), meaning(parse(new))
    keys = [*after, *(key for key in before if key not in after)]
    return tuple(
        Change(section=section, key=key, old=before.get((section, key)), new=after.get((section, key)))
        for section, key in keys
        if before.get((section, key)) != after.get((section, key)) and has_one_reading(conf, section, key)
    )


def _check_value(change: Change) -> None:
    value = change.new
    fine = (
        _KEY.fullmatch(change.key)
        and (
            value is None
            or (
                (value.isascii() or change.theirs)
                and all(one.isprintable() or "\udc80" <= one <= "\udcff" for one in value)  # or a byte that is no UTF-8
                and not any(one in value for one in ";{}")
                and value == value.strip()
                and value[:1] not in set(QUOTES)
            )
        )
    )
    if not fine:
        raise BadValue(change.section, change.key)


def _is_wanted(conf: Conf, change: Change) -> bool:
    found = entry_of(conf, change.section, change.key)
    now = None if found is None else unquoted(found.value)
    if now == change.new:
        return False
    if now != change.old:
        raise Stale(change.section, change.key)
    return True


@dataclass(slots=True, kw_only=True)
class _Line:
    """One entry as it is to be: `old` is the one that it was, None for a new one; `value` None: it is taken out."""

    key: str
    value: str | None = field(repr=False)
    old: Entry | None


class _Draft:
    """A text and the changes to be made in it, all at once: every offset is one of the text as it was."""

    def __init__(self, conf: Conf) -> None:
        """Begin without a change."""
        self.conf = conf
        self._lines: dict[str, list[_Line]] = {}  # by section, those that are touched

    def note(self, change: Change) -> None:
        """Note one change. A new key comes after the last of its family."""
        name, key, value = change.section, change.key, change.new
        if name not in self._lines:
            section = find(self.conf, name)
            entries = section.entries if section else ()
            self._lines[name] = [_Line(key=one.key, value=unquoted(one.value), old=one) for one in entries]
        lines = self._lines[name]
        line = next((one for one in lines if one.key == key), None)
        if line is not None:
            line.value = value
        elif value is not None:
            there = [number for number, one in enumerate(lines, 1) if one.value is not None]
            same = [number for number in there if _family(lines[number - 1].key) == _family(key)]
            lines.insert((same or there or [0])[-1], _Line(key=key, value=value, old=None))

    def text(self) -> str:
        """Give the text with all changes made. A new line begins where a line begins."""
        text, done, at = self.conf.text, "", 0
        for start, end, instead in sorted(self._pieces(), key=lambda piece: piece[:2]):
            done += text[at:start]
            if instead.endswith("\n") and done.strip("\ufeff") and not done.endswith("\n"):
                done += self.conf.newline
            done, at = done + instead, end
        return done + text[at:]

    def _pieces(self) -> Iterator[_Piece]:
        for name, lines in self._lines.items():
            section = find(self.conf, name)
            if section is None:
                yield from self._new_section(name, lines)
            elif section.entries and not section.commented and all(one.value is None for one in lines):
                yield section.start, section.after, ""
            else:
                yield from self._in_section(section, lines)

    def _in_section(self, section: Section, lines: Sequence[_Line]) -> Iterator[_Piece]:
        """Change and take out what is there; write a new line like its nearest kin, else like the one before it."""
        text, here = self.conf.text, section.body
        there = [one for one in lines if one.old and one.value is not None]
        like: Entry | None = None
        for line in lines:
            old, value = line.old, line.value
            if old is not None:
                like, here = old, min(old.end + 1, len(text))
                if value is None:
                    yield old.start, here, ""
                elif value != unquoted(old.value):
                    yield old.value_at, old.value_at + len(old.value), _quoted(value, old)
            elif value is not None:
                kin = [one.old for one in there if _shape(one.key) == _shape(line.key)]
                like = kin[-1] if kin else like
                yield here, here, _like(text, like, line.key, value) + self.conf.newline

    def _new_section(self, name: str, lines: Sequence[_Line]) -> Iterator[_Piece]:
        """Put it after the last closed one, before an unclosed one."""
        newline, sections = self.conf.newline, self.conf.sections
        closed, still_open = [one for one in sections if one.closed], [one for one in sections if not one.closed]
        at = closed[-1].after if closed else (still_open[0].start if still_open else len(self.conf.text))
        inside = "".join(f"{INDENT}{one.key} = {one.value};{newline}" for one in lines if one.value is not None)
        if inside:
            yield at, at, f"{name} = {{{newline}{inside}}}{newline}"


def _quoted(value: str, old: Entry) -> str:
    """Write a value as the old one is written."""
    quote = old.value[:1] if unquoted(old.value) != old.value else ""
    return quote + value + quote


def _like(text: str, kin: Entry | None, key: str, value: str) -> str:
    """Write a line as its kin is written: indent, spaces around `=`; tabs become blanks, a comment stays behind."""
    if kin is None:
        return f"{INDENT}{key} = {value};"
    indent = text[kin.start : kin.key_at].lstrip("\ufeff")
    between = text[kin.key_at + len(kin.key) : kin.value_at].replace("\t", " ")
    if "\t" in indent:
        indent = INDENT
    return f"{indent}{key}{between}{value};"


def _shape(key: str) -> str:
    return re.sub(r"[0-9]", "0", key)


def _family(key: str) -> str:
    if key.startswith("VirtualToken"):
        return "VirtualToken"
    return "Server" if re.fullmatch(r"Server[A-Za-z]+[0-9]{2}", key, re.ASCII) else key
