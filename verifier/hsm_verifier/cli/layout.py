"""Knows how to lay out what people read: rows in columns, sentences in the width of their terminal.

Into a pipe or a file each row and each sentence is one line, however long, so that `grep` and `cut` find it whole. On a
terminal nothing is wider than it: what does not fit beside the first columns goes below, each value behind its heading.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from hsm_verifier.visible import visible

USUAL, NARROWEST = 80, 40  # columns: of a terminal that does not say; below 40 nothing is laid out
GAP, INDENT = "  ", "    "


def width_of(stream: TextIO) -> int | None:
    """Give how wide a line may be there; None: as wide as it gets."""
    if not stream.isatty():
        return None
    try:
        found = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        found = USUAL
    return max(found or USUAL, NARROWEST)


def columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Lay rows out for stdout; the first row is the heading. What is unprintable is spelled out."""
    rows = [tuple(map(visible, row)) for row in rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    fit = _fitting(widths, width_of(sys.stdout))
    lines = []
    for row in rows:
        beside = zip(row[:fit], widths[:fit], strict=True)
        lines.append(GAP.join(cell.ljust(width) for cell, width in beside).rstrip())
        if row is not rows[0] and fit < len(row):
            below = zip(rows[0][fit:], row[fit:], strict=True)
            lines += folded((f"{heading} {cell}" for heading, cell in below), indent=INDENT)
    return "\n".join(lines)


def sentence(text: str) -> str:
    """Lay one sentence out for stdout."""
    return "\n".join(folded([text]))


def folded(parts: Iterable[str], *, indent: str = "") -> list[str]:
    """Lay parts out for stdout: on one line, or where that is too long on several, the later ones indented.

    A part stays on one line if it can; one longer than a line is broken at its spaces and commas; a longer word stays
    whole, to be copied.
    """
    width = width_of(sys.stdout)
    if width is None:
        return [indent + GAP.join(parts)]
    lines, line = [], indent
    for part in parts:
        whole = len(INDENT + part) <= width
        for number, piece in enumerate([part] if whole else re.findall(r"[^ ,]+[ ,]*|[ ,]+", part)):
            more = line + (GAP if line.strip() and not number else "") + piece
            if line.strip() and len(more.rstrip()) > width:
                lines.append(line.rstrip())
                more = (indent or INDENT) + piece
            line = more
    return [*lines, line.rstrip()]


def _fitting(widths: Sequence[int], width: int | None) -> int:
    """Give how many columns fit beside each other, at least one."""
    if width is None:
        return len(widths)
    return max([1, *(n for n in range(1, len(widths) + 1) if sum(widths[:n]) + len(GAP) * (n - 1) <= width)])
