"""Knows how long to leave a service alone that said "too many": longer each time, and nobody asks meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FIRST, LONGEST = 1.0, 32.0  # seconds; EC2's bucket refills 20 tokens a second, so the first pause is worth a batch


class Paused(Exception):
    """Nobody may ask now: `seconds` until the pause ends."""

    def __init__(self, seconds: float) -> None:
        """Take the rest of the pause."""
        super().__init__(f"paused for {seconds:.1f} s")
        self.seconds = seconds


class Pause:
    """One service in one place. `throttled` begins a pause, twice as long as the one before; `served` forgets them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is monotonic seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._until = 0.0
        self._next = FIRST

    def check(self) -> None:
        """Raise Paused while the service is left alone."""
        left = self._until - self._clock()
        if left > 0:
            raise Paused(left)

    def throttled(self) -> Paused:
        """Begin a pause; gives it, to be raised."""
        with self._lock:
            seconds, self._next = self._next, min(LONGEST, self._next * 2)
            self._until = self._clock() + seconds
        return Paused(seconds)

    def served(self) -> None:
        """Note that the service answers again."""
        with self._lock:
            self._next = FIRST
