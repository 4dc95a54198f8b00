"""Knows how to show another party's free text to a person: one line, no control characters, no tricks, bounded."""

from __future__ import annotations

import unicodedata
from typing import Final

MOST: Final = 300  # characters; a sentence for people is shorter


def printable(text: str, most: int = MOST) -> str:
    """Give what may be printed of `text`.

    Everything of Unicode's category C goes: C0 and C1 (terminal escapes, line ends that would forge a log line),
    formats (bidirectional controls and zero-width characters, which make a text read as another), surrogates and what
    is unassigned. Line and paragraph separators become blanks, as do tabs and line ends.
    """
    shown = []
    for character in text[: most * 4]:  # bound the work too
        category = unicodedata.category(character)
        if character in "\t\n\r" or category in {"Zl", "Zp"}:
            shown.append(" ")
        elif category[0] != "C":
            shown.append(character)
    line = " ".join("".join(shown).split())
    return line if len(line) <= most else line[: most - 3] + "..."
