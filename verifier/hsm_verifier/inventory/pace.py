"""Knows how far apart calls of one kind are: close while few come, further the longer a fleet keeps coming."""

from __future__ import annotations


class Pace:
    """Starts are `least` seconds apart; each that many waited for makes the next pause `step` longer, up to `most`.

    When nobody came for as long as the pause, after it was over, it is `least` again. A few who come one after the
    other would only wait longer: each of them needs a call. All times in seconds, by any one clock.
    """

    def __init__(self, *, least: float, most: float, step: float) -> None:
        """Begin as after a long quiet."""
        self._least, self._most, self._step = min(least, most), most, step
        self._pause = self._least
        self._soonest = float("-inf")

    def wait(self, now: float) -> float:
        """Give the seconds until the next call may start, 0 when it may now."""
        return max(0.0, self._soonest - now)

    def start(self, now: float, *, many: bool) -> None:
        """Note that one starts, for `many` or for a few."""
        quiet = now - self._soonest
        if quiet >= self._pause:
            self._pause = self._least
        elif many:
            self._pause = min(self._most, self._pause + self._step)
        self._soonest = now + self._pause
