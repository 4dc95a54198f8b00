"""Knows how an operator likes to read times: how long ago, how long still, and which moment in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def span(seconds: float) -> str:
    """Give a length of time by its largest unit: 40 s, 5 min, 3 h, 12 d."""
    for size, name in _UNITS:
        if abs(seconds) >= size:
            return f"{int(abs(seconds) // size)} {name}"
    return "0 s"


def ago(then: float | None, now: float) -> str:
    """Give how long ago a moment was, or how far ahead it is."""
    if then is None:
        return "-"
    return f"in {span(then - now)}" if then > now + 1 else span(now - then)


def moment(seconds: float | None) -> str:
    """Give a moment to the minute, in UTC."""
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")
