"""Knows how one finding reads: what it is about, ok or warn or fail, one line, and what to do about it."""

from __future__ import annotations

from typing import Final

from hsm_enrol.errors import EnrolError
from hsm_enrol.shapes import dataclass

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"
DAY: Final = 86400.0
SOON: Final = 30 * DAY  # before an expiry is worth a warning; rotations are planned by the month


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the list. `reason` is an error's stable word, "" where no error stands behind it."""

    about: str
    level: str
    line: str
    hint: str = ""
    reason: str = ""


def ok(about: str, line: str) -> Finding:
    """Give a finding that nothing has to be done about."""
    return Finding(about=about, level=OK, line=line)


def warn(about: str, line: str, hint: str) -> Finding:
    """Give one that does not stop an enrolment, or not yet."""
    return Finding(about=about, level=WARN, line=line, hint=hint)


def fail(about: str, line: str, hint: str) -> Finding:
    """Give one that does."""
    return Finding(about=about, level=FAIL, line=line, hint=hint)


def of_error(about: str, error: EnrolError, level: str = FAIL) -> Finding:
    """Give an error in its own words: the ones that `enrol` would end with."""
    return Finding(about=about, level=level, line=error.fault(), hint=error.advice(), reason=error.reason)


def of_expiry(about: str, what: str, until: float, now: float, hint: str) -> Finding:
    """Judge an expiry, both Unix seconds."""
    if until <= now:
        return fail(about, f"{what} expired {_days(now - until)} ago", hint)
    if until - now < SOON:
        return warn(about, f"{what} expires in {_days(until - now)}", hint)
    return ok(about, f"{what} is good for {_days(until - now)}")


def _days(seconds: float) -> str:
    days = int(seconds // DAY)
    return "1 day" if days == 1 else f"{days} days" if days else "less than a day"
