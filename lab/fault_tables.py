"""Knows how to write the lists of faults in README and hsm-enrol(8) from the code: `python -m lab.fault_tables`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from hsm_enrol.errors import catalogue
from hsm_enrol.explain import filled

ROOT = Path(__file__).parent.parent
_BETWEEN = re.compile(
    r"(^(?:<!--|\.\\\") made by `?python -m lab\.fault_tables[^\n]*\n).*?(^(?:<!--|\.\\\") end)",
    re.MULTILINE | re.DOTALL,
)


def readme() -> str:
    """Give README's table."""
    rows = ["", "| reason | exit | fault | what to do | what to type | MESSAGE_ID |", "| --- " * 6 + "|"]
    rows += [
        f"| `{kind.reason}` | {kind.status} | {filled(kind.says)} | {filled(kind.hint)} | `{filled(kind.then)}` "
        f"| `{kind.message_id}` |"
        for kind in catalogue()
    ]
    return "\n".join([*rows, "", ""])


def manual() -> str:
    """Give the manual's list, in mdoc."""
    return "\n".join([".Bl -tag -width Ds", *_items(), ".El", ""])


def _items() -> Iterator[str]:
    for kind in catalogue():
        yield f".It Sy {kind.reason} Pq exit status {kind.status}"
        yield _safe(_sentence(filled(kind.says)))
        yield _safe(_sentence(filled(kind.hint)))
        yield f".Dl {_safe(filled(kind.then))}"
        yield f"MESSAGE_ID={kind.message_id}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith("?") else ".")


def _safe(text: str) -> str:
    """Keep mdoc from reading text as markup: backslashes, and a point or quote at a line's start."""
    return re.sub(r"^([.'])", r"\\&\1", text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga"))


def renewed(text: str, between: str) -> str:
    """Give a document with what stands between its marks made anew."""
    return _BETWEEN.sub(lambda found: found[1] + between + found[2], text)


DOCUMENTS = {"README.md": readme, "docs/man/hsm-enrol.8": manual}

if __name__ == "__main__":
    for name, made in DOCUMENTS.items():
        path = ROOT / name
        path.write_text(renewed(path.read_text("utf-8"), made()), "utf-8")
