"""Knows Chrystoki.conf: reads the grammar that real clients write, changes named keys, leaves every other byte alone.

The strictest reading of `Section = {`, `key = value;`, `}`, blank and `#` lines. A fault in a section that is not
edited is none of our business; one in a section that is, is an error with its line. No regular expression reads lines:
the obvious one takes minutes on a line of blanks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hsm_enrol.model import Change

CLIENT, TOKENS, SYNCHRONIZE, HA = "LunaSA Client", "VirtualToken", "HASynchronize", "HAConfiguration"
MAX_BYTES = 1 << 20
INDENT = "   "
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_QUOTES = "'\""


class NotUnderstood(Exception):
    """The text, or the section asked for, has no single reading; `line` counts from 1, `fault` is a fixed word."""

    def __init__(self, line: int, fault: str) -> None:
        """Never hold a value: a REST secret may stand in this file."""
        super().__init__(f"line {line}: {fault}")
        self.line, self.fault = line, fault


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
            inside = _Open(name, number, start, at)
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


# --- reading


def find(conf: Conf, name: str) -> Section | None:
    """Give the one section of that name, sound enough to be edited; None when there is none. NotUnderstood."""
    found = [one for one in conf.sections if one.name == name]
    if len(found) > 1:
        raise NotUnderstood(found[1].line, f"section {name} twice")
    if found and found[0].odd:
        raise NotUnderstood(*found[0].odd)
    return found[0] if found else None


def entry_of(conf: Conf, section: str, key: str) -> Entry | None:
    """Give the one entry of that key; None when there is none. NotUnderstood when it is there twice."""
    where = find(conf, section)
    found = [one for one in where.entries if one.key == key] if where else []
    if len(found) > 1:
        raise NotUnderstood(found[1].line, f"key {key} twice")
    return found[0] if found else None


def get(conf: Conf, section: str, key: str) -> str | None:
    """Give a value, one pair of quotes off; None when it is not there. Raises NotUnderstood."""
    found = entry_of(conf, section, key)
    return None if found is None else unquoted(found.value)


def unquoted(value: str) -> str:
    """Take one pair of quotes off."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES:
        return value[1:-1]
    return value


def meaning(conf: Conf) -> dict[tuple[str, str], str]:
    """Give all values by (section, key); sections and keys with faults or more than one reading are left out."""
    names = [one.name for one in conf.sections]
    found: dict[tuple[str, str], str] = {}
    for section in conf.sections:
        if names.count(section.name) > 1 or section.odd:
            continue
        keys = [one.key for one in section.entries]
        found |= {(section.name, one.key): unquoted(one.value) for one in section.entries if keys.count(one.key) == 1}
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEntry:
    """One registered server, ServerNameNN and its kin."""

    number: int
    name: str
    port: str | None
    htl: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEntry:
    """One HA group, VirtualTokenNN…."""

    number: int
    label: str | None
    serial: str | None
    members: tuple[str, ...]


def servers(conf: Conf) -> dict[int, ServerEntry]:
    """Give the registered servers by their number. Raises NotUnderstood."""
    find(conf, CLIENT)
    found = {}
    for number in _numbers(conf, CLIENT, r"ServerName([0-9]{2})"):
        name = get(conf, CLIENT, f"ServerName{number:02}")
        if name is not None:
            port, htl = get(conf, CLIENT, f"ServerPort{number:02}"), get(conf, CLIENT, f"ServerHtl{number:02}")
            found[number] = ServerEntry(number=number, name=name, port=port, htl=htl)
    return found


def groups(conf: Conf) -> dict[int, GroupEntry]:
    """Give the HA groups by their number. Raises NotUnderstood."""
    find(conf, TOKENS)
    found = {}
    for number in _numbers(conf, TOKENS, r"VirtualToken([0-9]{2})(?:Label|SN|Members)"):
        members = get(conf, TOKENS, f"VirtualToken{number:02}Members") or ""
        found[number] = GroupEntry(
            number=number,
            label=get(conf, TOKENS, f"VirtualToken{number:02}Label"),
            serial=get(conf, TOKENS, f"VirtualToken{number:02}SN"),
            members=tuple(one.strip() for one in members.split(",") if one.strip()),
        )
    return found


def _numbers(conf: Conf, section: str, pattern: str) -> list[int]:
    where = find(conf, section)
    found = {
        match[1] for one in (where.entries if where else ()) if (match := re.fullmatch(pattern, one.key, re.ASCII))
    }
    return sorted(int(one) for one in found)


# --- writing


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
            and value[:1] not in {"'", '"'}
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
    if entry.value[:1] in {"'", '"'} and unquoted(entry.value) != entry.value:
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
