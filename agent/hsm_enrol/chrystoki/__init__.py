"""Knows Chrystoki.conf: reads the grammar that real clients write, changes named keys, leaves all other bytes alone."""

from hsm_enrol.chrystoki.editing import BadValue, Stale, changes_between, with_changes
from hsm_enrol.chrystoki.grammar import Conf, Entry, NotUnderstood, Section, decode, encode, parse
from hsm_enrol.chrystoki.reading import (
    CLIENT,
    HA,
    SYNCHRONIZE,
    TOKENS,
    GroupEntry,
    ServerEntry,
    entry_of,
    find,
    get,
    groups,
    is_whole,
    meaning,
    servers,
    unquoted,
)

__all__ = [
    "CLIENT",
    "HA",
    "SYNCHRONIZE",
    "TOKENS",
    "BadValue",
    "Conf",
    "Entry",
    "GroupEntry",
    "NotUnderstood",
    "Section",
    "ServerEntry",
    "Stale",
    "changes_between",
    "decode",
    "encode",
    "entry_of",
    "find",
    "get",
    "groups",
    "is_whole",
    "meaning",
    "parse",
    "servers",
    "unquoted",
    "with_changes",
]
