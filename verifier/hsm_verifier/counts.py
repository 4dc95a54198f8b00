"""Knows how many decisions this process made, how long each took and how many were alarms; for /metrics."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds: a decision without AWS takes milliseconds, STS and EC2 are given up after about ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How long decisions took: one count a bound of BOUNDS and one beyond, and the seconds of all together."""

    counts: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """All counts at one moment. Decisions by (event, outcome, reason), requests turned away by (event, reason)."""

    decisions: dict[tuple[str, str, str], int]
    latency: dict[str, Histogram]
    turned_away: dict[tuple[str, str], int]
    alarms: int


class Counts:
    """Counts since the process began; safe for threads. Labels come from closed lists, never from outside."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._lock = threading.Lock()
        self._decisions: Counter[tuple[str, str, str]] = Counter()
        self._turned_away: Counter[tuple[str, str]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._alarms = 0

    def decided(self, event: str, outcome: str, reason: str, *, seconds: float, alarm: bool) -> None:
        """Count one audited decision."""
        with self._lock:
            self._decisions[(event, outcome, reason)] += 1
            self._buckets.setdefault(event, [0] * (len(BOUNDS) + 1))[bisect_left(BOUNDS, seconds)] += 1
            self._seconds[event] += seconds
            self._alarms += alarm

    def raise_alarm(self) -> None:
        """Count an alarm that is no decision about an instance."""
        with self._lock:
            self._alarms += 1

    def turn_away(self, event: str, reason: str) -> None:
        """Count a request that V1 refused before it was read."""
        with self._lock:
            self._turned_away[(event, reason)] += 1

    def now(self) -> Counted:
        """Give a copy."""
        with self._lock:
            return Counted(
                decisions=dict(self._decisions),
                latency={
                    event: Histogram(counts=tuple(counts), seconds=self._seconds[event])
                    for event, counts in self._buckets.items()
                },
                turned_away=dict(self._turned_away),
                alarms=self._alarms,
            )
