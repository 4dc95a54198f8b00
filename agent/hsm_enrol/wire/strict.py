"""Knows how to read base64url and JSON so that there is one reading only (E1, E4, E7)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from hsm_enrol.errors import WireError

JsonValue = None | bool | int | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]

MAX_DEPTH = 8
MAX_INT = 2**53 - 1  # the largest integer that every JSON reader keeps exact (RFC 7493 section 2.2)
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_INTEGER = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_FORBIDDEN = "[\0\ud800-\udfff]"  # compiled when it is first searched for, which is hardly ever
# Strings and brackets. Possessive, and the closing quote may be missing: a string that never ends is passed once, where
# backtracking, or looking for its end again from each later quote, would take a stranger's 32 KiB for minutes.
_TOKENS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)


def b64u_encode(data: bytes) -> str:
    """Encode as base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64u_decode(text: str, what: str) -> bytes:
    """E1: decode base64url; the alphabet is checked, and encoding again must give the same text. Raises WireError."""
    if not _ALPHABET.fullmatch(text) or len(text) % 4 == 1:
        raise WireError("E1", what)
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64u_encode(data) != text:
        raise WireError("E1", what)
    return data


def parse_json(data: bytes) -> JsonValue:
    """E4: read JSON that has one reading: UTF-8 without BOM, no duplicate names, whole numbers only, depth at most 8.

    Raises WireError("E4", fault); the fault is a fixed word, never a part of the text.
    """
    try:
        text = data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise WireError("E4", "not UTF-8") from None
    if text.startswith("\ufeff"):
        raise WireError("E4", "byte order mark")
    _check_depth(text)
    try:
        value = _READER.decode(text)
    except WireError:
        raise
    except (ValueError, RecursionError):
        raise WireError("E4", "not JSON") from None
    if "\\u" in text:
        # Only an escape can bring NUL or a lone surrogate in: strict UTF-8 has no surrogates, and the parser refuses
        # control characters as they are.
        _check_texts(value)
    return value  # type: ignore[no-any-return]  # the decoder gives Any; its hooks leave JsonValue only


def dump_json(value: JsonValue) -> bytes:
    """Write JSON in the one form that we send: no blanks, names sorted, UTF-8."""
    return _WRITER.encode(value).encode("utf-8")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise WireError("E4", "duplicate name")
    return found


def _no_float(_: str) -> NoReturn:
    raise WireError("E4", "not a whole number")


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text) or int(text) > MAX_INT:
        raise WireError("E4", "integer out of range")
    return int(text)


# Made once: json.loads and json.dumps make one for each call that has options.
_READER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_no_float, parse_constant=_no_float, parse_int=_integer
)
_WRITER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def _check_depth(text: str) -> None:
    """Count brackets outside strings before the parser recurses: a bomb is refused in one pass."""
    depth = 0
    for token in _TOKENS.finditer(text):
        if token[0] in {"[", "{"}:
            depth += 1
            if depth > MAX_DEPTH:
                raise WireError("E4", "too deep")
        elif token[0] in {"]", "}"}:
            depth -= 1


def _check_texts(value: Any) -> None:
    if isinstance(value, str):
        if re.search(_FORBIDDEN, value):
            raise WireError("E4", "text holds NUL or a lone surrogate")
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_texts(name)
            _check_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_texts(inner)


class Fields:
    """Reads the members of one JSON object against a closed schema; what is left over at the end is a fault."""

    def __init__(self, value: Any, where: str, rule: str = "E4") -> None:
        """Take an object; `where` names it in errors, `rule` is the number that a misfit breaks."""
        if not isinstance(value, dict):
            raise WireError(rule, where)
        self._left = dict(value)
        self._where = where
        self._rule = rule

    def fault(self, name: str) -> WireError:
        """Give the error for member `name`."""
        return WireError(self._rule, f"{self._where}.{name}")

    def has(self, name: str) -> bool:
        """Tell whether an optional member is there."""
        return name in self._left

    def take(self, name: str) -> Any:
        """Take a member as it is."""
        if name not in self._left:
            raise self.fault(name)
        return self._left.pop(name)

    def text(self, name: str, grammar: str) -> str:
        """Take a text that matches `grammar` wholly, in ASCII (E7)."""
        value = self.take(name)
        if not isinstance(value, str) or not re.fullmatch(grammar, value, re.ASCII):
            raise self.fault(name)
        return value

    def optional_text(self, name: str, grammar: str) -> str | None:
        """Take a text that may be absent; null is no way to say absent."""
        return self.text(name, grammar) if self.has(name) else None

    def integer(self, name: str, least: int = 0, most: int = MAX_INT) -> int:
        """Take an integer; a boolean is none."""
        value = self.take(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.fault(name)
        return value

    def boolean(self, name: str) -> bool:
        """Take true or false."""
        value = self.take(name)
        if not isinstance(value, bool):
            raise self.fault(name)
        return value

    def word(self, name: str, *words: str) -> str:
        """Take one of a closed list of texts."""
        value = self.take(name)
        if not isinstance(value, str) or value not in words:
            raise self.fault(name)
        return value

    def items(self, name: str, least: int, most: int) -> list[Any]:
        """Take a list of `least` to `most` values."""
        value = self.take(name)
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise self.fault(name)
        return value

    def texts(self, name: str, grammar: str, least: int, most: int) -> tuple[str, ...]:
        """Take a list of texts that each match `grammar`, no two alike."""
        found = self.items(name, least, most)
        for one in found:
            if not isinstance(one, str) or not re.fullmatch(grammar, one, re.ASCII):
                raise self.fault(name)
        if len(set(found)) != len(found):
            raise self.fault(name)
        return tuple(found)

    def fields(self, name: str) -> Fields:
        """Take an object to be read in its turn."""
        return Fields(self.take(name), f"{self._where}.{name}", self._rule)

    def nothing_else(self) -> None:
        """Refuse members that the schema does not name."""
        if self._left:
            raise WireError(self._rule, f"{self._where} has a member that is not in the schema")
