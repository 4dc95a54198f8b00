"""Knows how to read the tables of our documents, so that tests can compare them with the code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
_CELL = re.compile(r"(?<!\\)\|")


def text_of(name: str) -> str:
    """Give a document's text; `name` is relative to the checkout."""
    return (ROOT / name).read_text(encoding="utf-8")


def tables(name: str) -> dict[str, list[list[dict[str, str]]]]:
    """Give every table of a document by the heading above it: rows as column -> cell, code marks taken off."""
    found: dict[str, list[list[dict[str, str]]]] = {}
    heading = ""
    head: list[str] = []
    for line in text_of(name).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").replace("`", "")
        if not line.startswith("|"):
            head = []
            continue
        cells = [cell.strip().replace(r"\|", "|") for cell in _CELL.split(line)[1:-1]]
        if not head:
            head = cells
            found.setdefault(heading, []).append([])
        elif set("".join(cells)) != {"-", " "} and set("".join(cells)) != {"-"}:
            found[heading][-1].append(dict(zip(head, cells, strict=True)))
    return found


def table(name: str, heading: str, *columns: str) -> list[dict[str, str]]:
    """Give the one table below `heading` that has these columns."""
    fitting = [one for one in tables(name)[heading] if one and set(columns) <= set(one[0])]
    assert len(fitting) == 1, f"{name}, {heading}: {len(fitting)} tables with {columns}"
    return fitting[0]


def bare(cell: str) -> str:
    """Take code marks off a cell."""
    return cell.replace("`", "")
