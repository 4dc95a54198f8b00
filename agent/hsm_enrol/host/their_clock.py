"""Knows the verifier's clock by ours: an instance's own may be hours off in its first minutes, and is set in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsm_enrol.errors import ClockWrong

if TYPE_CHECKING:
    from collections.abc import Callable

SAME_CLOCK: Final = 5.0  # seconds of difference that count as none
WRONG_CLOCK: Final = 6 * 3600.0  # seconds of difference beyond which this machine's time means nothing


class TheirClock:
    """The difference between two clocks, learnt from what the verifier says its own shows."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take our clock (Unix seconds); until anybody tells, both are one."""
        self._clock = clock
        self.offset = 0.0
        """Seconds to add to our clock to get theirs; 0.0 within 5 s."""

    def now(self) -> float:
        """Give their time now."""
        return self._clock() + self.offset

    def learn(self, server_time: int, *, seconds: float) -> None:
        """Compare: theirs showed `server_time` so many `seconds` ago, counted by a clock that nobody sets.

        Ours is read once, now: one that was set since they looked at theirs does no harm. Raises ClockWrong.
        """
        offset = server_time + seconds - self._clock()
        if abs(offset) > WRONG_CLOCK:
            raise ClockWrong(seconds=round(abs(offset)))
        self.offset = 0.0 if abs(offset) <= SAME_CLOCK else offset
