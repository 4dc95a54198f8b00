"""Knows how to print what `check` found: one line each, hints below; exit 0 when nothing would stop an enrolment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hsm_enrol.check import check
from hsm_enrol.checks.finding import FAIL, OK, WARN, Finding
from hsm_enrol.cli.out import GREEN, RED, YELLOW, paint, show, show_json, wrapped
from hsm_enrol.facts.look import Look
from hsm_enrol.host.printable import printable

PASSED, FAILED = 0, 1
MARGIN = " " * 20
_COLOURS = {OK: GREEN, WARN: YELLOW, FAIL: RED}


def show_check(look: Look, *, as_json: bool) -> int:
    """Print the list; 1 when something in it fails."""
    found = check(look)
    status = FAILED if any(one.level == FAIL for one in found) else PASSED
    if as_json:
        show_json(as_members(found), status=status)
    else:
        show("\n".join(as_lines(found)))
    return status


def as_members(found: Sequence[Finding]) -> dict[str, object]:
    """Give what `check --json` tells."""
    return {
        "findings": [
            {"about": one.about, "level": one.level, "line": one.line, "hint": one.hint, "reason": one.reason}
            for one in found
        ],
    }


def as_lines(found: Sequence[Finding]) -> list[str]:
    """Give the lines for a person."""
    lines = []
    for one in found:
        level = paint(f"{one.level:<5}", _COLOURS[one.level])
        first, *more = wrapped(printable(one.line), f"{'':5} {one.about:<13} ", MARGIN)
        lines += [level + first[5:], *more]
        if one.hint:
            lines += wrapped(f"hint: {printable(one.hint)}", MARGIN, MARGIN + " " * 6)
    counts = Counter(one.level for one in found)
    return [*lines, f"{counts[OK]} ok, {counts[WARN]} warn, {counts[FAIL]} fail"]
