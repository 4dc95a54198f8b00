"""Knows how results leave on stdout: JSON by the one schema (docs/json.md), text within 80 columns, colours."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Mapping

from hsm_enrol.errors import CannotWrite
from hsm_enrol.host.folders import errno_name
from hsm_enrol.host.terminal import coloured

SCHEMA = 1  # of every --json; a member may be added under it, none taken away or given another meaning
WIDTH = 80
BOLD, RED, GREEN, YELLOW, CYAN = "1", "31", "32", "33", "36"


def show(text: str) -> None:
    """Print lines, all the way; what an older locale has no letters for as escapes, as Python does on stderr.

    Raises CannotWrite: what a full disk cut off must not pass for the whole.
    """
    letters = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(letters, "backslashreplace").decode(letters), flush=True)
    except OSError as error:
        raise CannotWrite(path="/dev/stdout", error=errno_name(error)) from error


def show_json(members: Mapping[str, object], *, status: int = 0) -> None:
    """Print one object: schema, whether all is well, the exit status, and what there is to tell. CannotWrite."""
    show(json.dumps({"schema": SCHEMA, "ok": status == 0, "status": status, **members}, indent=2))


def wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    """Break a text into lines of at most 80 columns; a word that is longer stays whole, to be copied."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def paint(text: str, style: str) -> str:
    """Colour a text where colours are welcome."""
    return f"\x1b[{style}m{text}\x1b[0m" if style and coloured() else text


def visible(text: str) -> str:
    """Give a file's line as it can be shown: what would move a cursor, or is no text, as an escape."""
    return "".join(
        character if character.isprintable() or character == "\t" else ascii(character)[1:-1] for character in text
    )
