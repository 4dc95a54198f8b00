"""Knows how to print what `check` found: one line each, hints below; exit 0 when nothing would stop an enrolment."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from hsm_enrol.check import check
from hsm_enrol.checks.finding import FAIL, OK, WARN, Finding
from hsm_enrol.facts.look import Look
from hsm_enrol.host.printable import printable

PASSED, FAILED = 0, 1


def show_check(look: Look, *, as_json: bool) -> int:
    """Print the list; 1 when something in it fails."""
    found = check(look)
    status = FAILED if any(one.level == FAIL for one in found) else PASSED
    print(json.dumps(as_members(found, status), indent=2) if as_json else "\n".join(as_lines(found)))
    return status


def as_members(found: Sequence[Finding], status: int) -> dict[str, object]:
    """Give schema 1 of `check --json`."""
    return {
        "schema": 1,
        "ok": status == PASSED,
        "status": status,
        "findings": [
            {"about": one.about, "level": one.level, "line": one.line, "hint": one.hint, "reason": one.reason}
            for one in found
        ],
    }


def as_lines(found: Sequence[Finding]) -> list[str]:
    """Give the lines for a person."""
    lines = []
    for one in found:
        lines.append(f"{one.level:<5} {one.about:<13} {printable(one.line)}")
        if one.hint:
            lines.append(f"{'':19} hint: {printable(one.hint)}")
    counts = Counter(one.level for one in found)
    return [*lines, f"{counts[OK]} ok, {counts[WARN]} warn, {counts[FAIL]} fail"]
