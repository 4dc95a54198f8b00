"""Knows what a Chrystoki.conf says: values by section and key, registered servers and HA groups by their numbers.

A fault in a section that is not asked for is none of our business; one in a section that is, is an error with its line.
"""

from __future__ import annotations

import re

from hsm_enrol.chrystoki.grammar import Conf, Entry, NotUnderstood, Section
from hsm_enrol.shapes import dataclass

CLIENT, TOKENS, SYNCHRONIZE, HA = "LunaSA Client", "VirtualToken", "HASynchronize", "HAConfiguration"
QUOTES = "'\""


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
    if len(value) > 1 and value[0] == value[-1] and value[0] in QUOTES:
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


def has_one_reading(conf: Conf, section: str, key: str) -> bool:
    """Tell whether it is clear what a key's value is, or that it has none."""
    try:
        entry_of(conf, section, key)
    except NotUnderstood:
        return False
    return True


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


def is_whole(conf: Conf) -> bool:
    """Tell whether the text is not empty and does not end inside a section, as one does whose writer died."""
    return bool(conf.sections) and all(one.closed for one in conf.sections)
