"""Knows how a table of a TOML file becomes a frozen value: every key known and of its kind, none missing."""

from __future__ import annotations

import difflib
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")
_KINDS = {
    "str": "a text in quotes",
    "int": "a whole number above 0",
    "float": "a number above 0",
    "tuple[str, ...]": "a list of texts",
    "dict[str, str]": "a table of texts",
}
"""The kinds that values of the settings have, as a reader of TOML knows them."""


class SettingsError(Exception):
    """The settings file cannot be used: says the key and what is wrong with it, never a secret."""


def table_of(table: dict[str, Any], name: str) -> dict[str, Any]:
    """Give the table of that name, empty where there is none. Raises SettingsError."""
    value = table.get(name, {})
    if not isinstance(value, dict):
        raise SettingsError(f"{name}: must be a table")
    return cast("dict[str, Any]", value)


def refuse_unknown(table: dict[str, Any], known: set[str], section: str) -> None:
    """See that a table has known keys only. Raises SettingsError with the nearest one."""
    for name in table:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SettingsError(f"{section}{name}: unknown key{hint}")


def read(kind: type[T], table: dict[str, Any], section: str) -> T:
    """Give a table as a dataclass of that kind. Raises SettingsError naming the key."""
    known: dict[str, Field[Any]] = {f.name: f for f in fields(cast("Any", kind))}
    refuse_unknown(table, set(known), f"{section}.")
    values: dict[str, Any] = {}
    for name, spec in known.items():
        if name in table:
            values[name] = _typed(table[name], str(spec.type), f"{section}.{name}")
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise SettingsError(f"{section}.{name}: missing")
    return kind(**values)


def _typed(value: object, kind: str, where: str) -> object:
    for text in value if isinstance(value, list) else (value,):
        if isinstance(text, str) and not text.isprintable():  # NUL above all: no system call takes a path with it
            raise SettingsError(f"{where}: must be printable")
    match kind, value:
        case "str", str():
            return value
        case (("int" | "float"), bool()):
            pass
        case "int", int() if value > 0:
            return value
        case "float", int() | float() if value > 0:
            return float(value)
        case "tuple[str, ...]", list() if all(isinstance(item, str) for item in value):
            return tuple(value)
        case "dict[str, str]", dict() if all(isinstance(item, str) for item in value.values()):
            return value
    raise SettingsError(f"{where}: must be {_KINDS[kind]}")


def with_paths(section: T, folder: Path, names: tuple[str, ...]) -> T:
    """Give the value with paths of these names taken from `folder`; what is empty stays so."""
    values = {f.name: getattr(section, f.name) for f in fields(cast("Any", section))}
    for name in names:
        value = values[name]
        if isinstance(value, tuple):
            values[name] = tuple(str(folder / item) for item in value)
        elif value:
            values[name] = str(folder / value)
    return type(section)(**values)
