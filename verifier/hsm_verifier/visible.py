"""Knows how to show a text that somebody else wrote: what a terminal or a reader's eye could take for more is spelled.

Control characters (a terminal obeys them), bidirectional controls and invisible characters (an eye is misled) and lone
surrogates (no encoding takes them) come out as their code points. HTML's own characters are the template's business.
"""

from __future__ import annotations

LONGEST = 300


def visible(text: str, longest: int = LONGEST) -> str:
    r"""Give the text with everything unprintable as \xHH, \uHHHH or \UHHHHHHHH, cut at `longest` characters."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return cut if cut.isprintable() else "".join(one if one.isprintable() else _spell(ord(one)) for one in cut)


def _spell(code: int) -> str:
    if code <= 0xFF:  # noqa: PLR2004
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004
