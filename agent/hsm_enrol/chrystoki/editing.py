"""Knows how to change named keys of a Chrystoki.conf and leave every other byte alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hsm_enrol.chrystoki.grammar import Conf, Entry, Section, parse
from hsm_enrol.chrystoki.reading import QUOTES, entry_of, find, meaning, unquoted
from hsm_enrol.model import Change

INDENT = "   "
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


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
    todo = [change for change in changes if _is_wanted(text, change)]
    for change in todo:
        text = _with(text, change)
    return text


def changes_between(old: str, new: str) -> tuple[Change, ...]:
    """Give the changes that lead from one text's meaning to the other's. Raises NotUnderstood."""
    before, after = meaning(parse(old)), meaning(parse(new))
    keys = [*after, *(key for key in before if key not in after)]
    return tuple(
        Change(section=section, key=key, old=before.get((section, key)), new=after.get((section, key)))
        for section, key in keys
        if before.get((section, key)) != after.get((section, key))
    )


def _check_value(change: Change) -> None:
    value = change.new
    fine = _KEY.fullmatch(change.key) and (
        value is None
        or (
            value.isascii()
            and value.isprintable()
            and not any(one in value for one in ";{}")
            and value == value.strip()
            and value[:1] not in set(QUOTES)
        )
    )
    if not fine:
        raise BadValue(change.section, change.key)


def _is_wanted(text: str, change: Change) -> bool:
    found = entry_of(parse(text), change.section, change.key)
    now = None if found is None else unquoted(found.value)
    if now == change.new:
        return False
    if now != change.old:
        raise Stale(change.section, change.key)
    return True


def _with(text: str, change: Change) -> str:
    conf = parse(text)
    section, entry = find(conf, change.section), entry_of(conf, change.section, change.key)
    if section is None:
        return text if change.new is None else _with_section(conf, change.section, change.key, change.new)
    if entry is None:
        return text if change.new is None else _with_entry(conf, section, change.key, change.new)
    if change.new is None:
        return _without(conf, section, entry)
    value = change.new
    if entry.value[:1] in set(QUOTES) and unquoted(entry.value) != entry.value:
        value = entry.value[0] + value + entry.value[0]
    return text[: entry.value_at] + value + text[entry.value_at + len(entry.value) :]


def _without(conf: Conf, section: Section, entry: Entry) -> str:
    text = conf.text
    if len(section.entries) == 1 and not section.commented:
        return text[: section.start] + text[section.after :]
    line_end = text.find("\n", entry.start)
    return text[: entry.start] + ("" if line_end < 0 else text[line_end + 1 :])


def _with_entry(conf: Conf, section: Section, key: str, value: str) -> str:
    """Put a new key after the last of its family, written like its nearest kin."""
    text = conf.text
    if not section.entries:
        line = f"{INDENT}{key} = {value};"
        return text[: section.body] + _line_break(text, section.body, conf) + line + conf.newline + text[section.body :]
    after = _last_of_family(section.entries, key)
    kin = next((one for one in reversed(section.entries) if _shape(one.key) == _shape(key)), after)
    line = _like(text, kin, key, value)
    line_end = text.find("\n", after.start)
    if line_end < 0:
        return text + conf.newline + line
    return text[: line_end + 1] + line + conf.newline + text[line_end + 1 :]


def _like(text: str, kin: Entry, key: str, value: str) -> str:
    """Write a line as its kin is written: indent, spaces around `=`; tabs become blanks, a comment stays behind."""
    tabs = str.maketrans({"\t": " "})
    indent = text[kin.start : kin.key_at].lstrip("\ufeff")
    between = text[kin.key_at + len(kin.key) : kin.value_at].translate(tabs)
    if "\t" in indent:
        indent = INDENT
    return f"{indent}{key}{between}{value};"


def _shape(key: str) -> str:
    return re.sub(r"[0-9]", "0", key)


def _family(key: str) -> str:
    for prefix in ("VirtualToken",):
        if key.startswith(prefix):
            return prefix
    return "Server" if re.fullmatch(r"Server[A-Za-z]+[0-9]{2}", key, re.ASCII) else key


def _last_of_family(entries: Sequence[Entry], key: str) -> Entry:
    same = [one for one in entries if _family(one.key) == _family(key)]
    return (same or list(entries))[-1]


def _line_break(text: str, at: int, conf: Conf) -> str:
    return conf.newline if at and not text[:at].endswith("\n") else ""


def _with_section(conf: Conf, name: str, key: str, value: str) -> str:
    """Put a new section after the last closed one, before an unclosed one."""
    text, newline = conf.text, conf.newline
    closed = [one for one in conf.sections if one.closed]
    still_open = [one for one in conf.sections if not one.closed]
    at = closed[-1].after if closed else (still_open[0].start if still_open else len(text))
    block = f"{name} = {{{newline}{INDENT}{key} = {value};{newline}}}{newline}"
    return text[:at] + _line_break(text, at, conf) + block + text[at:]
