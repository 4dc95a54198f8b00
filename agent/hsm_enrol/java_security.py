"""Knows java.security: adds the Luna provider at the next free number and takes it out again, touching nothing else.

The file is a java.util.Properties text ("Properties.load", JDK API): logical lines, `#` and `!` comments, a backslash
at the end of a line continues it. Providers must be numbered 1..n once each. A gap is not filled: it would switch on
providers behind it that the JDK ignores today.
"""

from __future__ import annotations

import re

from hsm_enrol.errors import NotUnderstood
from hsm_enrol.shapes import dataclass

PROVIDER = "com.safenetinc.luna.provider.LunaProvider"
_KEY = "security.provider."
_BLANKS = " \t\f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One logical line: where it begins and ends in the text, its number from 1, the unescaped key and value.

    `open` tells that the text ended where the line wanted to go on: whatever is added there would become part of it.
    """

    start: int
    end: int
    number: int
    key: str
    value: str
    open: bool = False


def with_provider(content: bytes, path: str) -> bytes:
    """Give the file with the provider in it; the same bytes when it is there under any number. Raises NotUnderstood."""
    text = content.decode("latin-1")  # what Properties.load reads; every byte survives
    providers = _providers(text, path)
    if any(line.value.split(" ")[0] == PROVIDER for line in providers.values()):
        return content
    lines = logical_lines(text)
    if lines and lines[-1].open:
        raise NotUnderstood(path=path, line=lines[-1].number, what="a last line that is continued by nothing")
    added = f"{_KEY}{len(providers) + 1}={PROVIDER}"
    if not providers:
        newline = _newline(text)
        glue = "" if not text or text.endswith(("\n", "\r")) else newline
        return (text + glue + added + newline).encode("latin-1")
    last = max(providers.values(), key=lambda line: line.start)
    ended = text[: last.end].endswith(("\n", "\r"))
    newline = _newline(text)
    return (
        text[: last.end] + ("" if ended else newline) + added + (newline if ended else "") + text[last.end :]
    ).encode("latin-1")


def without_provider(content: bytes, path: str) -> bytes:
    """Give the file without the provider, later ones renumbered. Raises NotUnderstood."""
    text = content.decode("latin-1")
    providers = _providers(text, path)
    ours = next((number for number, line in providers.items() if line.value.split(" ")[0] == PROVIDER), None)
    if ours is None:
        return content
    edits = [(providers[ours].start, providers[ours].end, "")]
    for number, line in providers.items():
        if number > ours:
            at = text.index(_KEY, line.start) + len(_KEY)
            edits.append((at, at + len(str(number)), str(number - 1)))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    if ours == len(providers) and not _ends_line(content) and text.endswith(("\n", "\r")):
        text = text[: -len(_newline(text))]  # the line end before it was ours too
    return text.encode("latin-1")


def _ends_line(content: bytes) -> bool:
    return content.endswith((b"\n", b"\r"))


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _providers(text: str, path: str) -> dict[int, Line]:
    """Read the provider lines by number. Raises NotUnderstood on a repeat, a gap, or a number with another spelling."""
    found: dict[int, Line] = {}
    for line in logical_lines(text):
        number = line.key.removeprefix(_KEY)
        if number == line.key or not number.isascii() or not number.isdecimal():
            continue  # security.provider.tbd and the like are templates, no providers
        if int(number) in found or str(int(number)) != number:
            raise NotUnderstood(path=path, line=line.number, what=f"security provider {int(number)} twice")
        if text.find(_KEY + number, line.start, line.end) < 0:
            raise NotUnderstood(path=path, line=line.number, what="a provider's key written with escapes")
        found[int(number)] = line
    if sorted(found) != list(range(1, len(found) + 1)):
        gap = next(number for number in range(1, len(found) + 2) if number not in found)
        raise NotUnderstood(path=path, line=1, what=f"security providers are not numbered in a row: {gap} is missing")
    return found


def logical_lines(text: str) -> list[Line]:
    """Split a Properties text; blank and comment lines are left out."""
    found, at, number = [], 0, 1
    natural = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)
    rows = [row for row in natural if row]
    index = 0
    while index < len(rows):
        start, first = at, number
        row = rows[index]
        content = row.rstrip("\r\n").lstrip(_BLANKS)
        at, number, index = at + len(row), number + 1, index + 1
        if not content or content[0] in "#!":
            continue
        while _continues(content) and index < len(rows):
            row = rows[index]
            content = content[:-1] + row.rstrip("\r\n").lstrip(_BLANKS)
            at, number, index = at + len(row), number + 1, index + 1
        unfinished = _continues(content)
        key, value = _split(content[:-1] if unfinished else content)
        found.append(Line(start=start, end=at, number=first, key=key, value=value, open=unfinished))
    return found


def _continues(content: str) -> bool:
    return (len(content) - len(content.rstrip("\\"))) % 2 == 1


def _split(content: str) -> tuple[str, str]:
    """Take a logical line apart at the first unescaped `=`, `:` or blank."""
    key, at = "", 0
    while at < len(content) and content[at] not in "=:" + _BLANKS:
        step = 2 if content[at] == "\\" else 1
        key += content[at + step - 1 : at + step]
        at += step
    rest = content[at:].lstrip(_BLANKS)
    if rest[:1] in {"=", ":"}:
        rest = rest[1:].lstrip(_BLANKS)
    return key, re.sub(r"\\(.)", r"\1", rest)
