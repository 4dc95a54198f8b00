"""Knows how a rehearsal is told: as a table, in docs/operating.md if that was asked for and everything went as told."""

from __future__ import annotations

import sys
from pathlib import Path

OPERATING = Path(__file__).resolve().parents[2] / "docs/operating.md"
BEGIN, END = "<!-- rehearsal: begin -->", "<!-- rehearsal: end -->"

Row = dict[str, object]
"""One journey: its name, whether it went as told, what was seen, and seconds."""


def conclude(rows: list[Row], seconds: float, *, write: bool, document: Path = OPERATING) -> int:
    """Print the table and how many went as told; write it into the document if all did. 0, or 1 if one did not."""
    print(table(rows))
    failed = [row for row in rows if not row["ok"]]
    print(f"rehearsal: {len(rows) - len(failed)} of {len(rows)} journeys as told, {seconds:.0f} s")
    if failed or not rows:
        if write:
            print(f"rehearsal: {document.name} stays as it is: a table of a failed run is not written", file=sys.stderr)
        return 1
    if write:
        write_table(rows, document)
    return 0


def table(rows: list[Row]) -> str:
    """Give the rows as a table in Markdown."""
    lines = ["| journey | seen | seconds |", "| --- | --- | --- |"]
    for row in rows:
        seen = row["seen"] if row["ok"] else f"**not as told**: {row['seen']}"
        lines.append(f"| {row['journey']} | {str(seen).replace('|', '/')} | {row.get('seconds', '')} |")
    return "\n".join(lines)


def write_table(rows: list[Row], document: Path) -> None:
    """Put the table between its marks. LookupError when the document has none."""
    text = document.read_text()
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise LookupError(f"{document} has no marks for the table")
    document.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}")
