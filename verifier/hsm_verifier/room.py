"""Knows how many requests have room, and when those who are turned away should come back (V1).

If all came back after the same time, or whenever they like, most would be turned away again, and their handshakes would
cost what others could have been served with. So each gets a booking: the next moment that is free, at the pace at which
requests of its kind are done while others wait. The pace is a guess after a start or a stall, and who was told by it
comes when it was told; so bookings are counted by the second, and a better guess finds room between them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from hsm_verifier.refusal import Refusal

PATIENCE = 10.0  # seconds that one waits inside; an asker gives up after 30 and would be served in vain
LONGEST = 60.0  # seconds; a flood of strangers must not book the next hour
FIRST_PACE = 0.005  # seconds from one end to the next, until it was seen; who comes too late finds the place idle
STALL = 1.0  # seconds that count at most: what takes longer tells of what was away, not of the pace
SEEN = 128  # ends over which the pace is averaged: look-ups are answered by dozens
TURNING_AWAY = 0.2  # of what serving costs: a handshake and a challenge, 1.2 ms of 6.2 (docs/performance.md)


class Room:
    """So many requests at a time and so many more that wait. `clock` is monotonic seconds; for one thread."""

    def __init__(self, count: int, queue: int, clock: Callable[[], float]) -> None:
        """Begin empty."""
        self._count, self._most = count, count + queue
        self._clock = clock
        self._inside = self._turned_away = 0
        self._pace = _Pace()  # of all kinds: they wait in one queue
        self._bookings: defaultdict[str, _Bookings] = defaultdict(_Bookings)

    @property
    def waiting(self) -> int:
        """Tell how many wait for one of those at work to end."""
        return max(0, self._inside - self._count)

    def enter(self, kind: str) -> None:
        """Take room. Raises Refusal `busy` (503), with the time to come back, when there is none."""
        if self._inside >= self._most:
            self._turned_away += 1
            raise self.later(kind, "queue_full")
        self._inside += 1

    def give_up(self) -> None:
        """Give it back unserved."""
        self._inside -= 1
        self._rest()

    def later(self, kind: str, why: str) -> Refusal:
        """Give `busy` (503) with the time to come back."""
        wait = self._bookings[kind].book(self._clock(), self.waiting * self._pace.seconds)
        return Refusal("busy", f"V1 {why}", status=503, retry_after=wait)

    def leave(self, kind: str) -> None:
        """Give it back when it was served."""
        self._inside -= 1
        now = self._clock()
        self._pace.note(now, self._turned_away)
        self._bookings[kind].pace.note(now, self._turned_away)
        self._rest()

    def _rest(self) -> None:
        if not self.waiting:
            for pace in (self._pace, *(one.pace for one in self._bookings.values())):
                pace.pause()


class _Pace:
    """Seconds from one end to the next, on average, while others waited."""

    def __init__(self) -> None:
        self._took, self._turned_away, self._seen = FIRST_PACE, 0.0, 0
        self._last: tuple[float, int] | None = None  # when one was done and others waited; how many were turned away

    @property
    def seconds(self) -> float:
        """Give it without what was spent on turning others away: they come back when nobody has to be."""
        return self._took / (1 + TURNING_AWAY * self._turned_away)

    def note(self, now: float, turned_away: int) -> None:
        """Note that one is done."""
        if self._last is not None:
            then, before = self._last
            self._seen = min(self._seen + 1, SEEN)
            self._took += (min(now - then, STALL) - self._took) / self._seen
            self._turned_away += (turned_away - before - self._turned_away) / self._seen
        self._last = (now, turned_away)

    def pause(self) -> None:
        """Note that nobody waits: the time until the next one is done tells nothing."""
        self._last = None


class _Bookings:
    """Of one kind of request: how many were told to come back in which second."""

    def __init__(self) -> None:
        self.pace = _Pace()
        self._told: dict[int, int] = {}  # by second of the clock

    def book(self, now: float, ahead: float) -> float:
        """Give the seconds until there will be room for one more; `ahead` those that all who wait will take."""
        seconds = range(int(now), int(now + LONGEST))
        for past in [one for one in self._told if one < seconds.start]:
            del self._told[past]
        free = self._free(now, ahead, seconds)
        self._told[int(free)] = self._told.get(int(free), 0) + 1
        return free - now

    def _free(self, now: float, ahead: float, seconds: range) -> float:
        """Give the first moment by which all is done that was there or will have come."""
        begin, work, pace = now, ahead, self.pace.seconds
        for second in seconds:
            end = second + 1.0
            work += self._told.get(second, 0) * pace * (end - begin)
            if begin + work < end:
                return begin + work
            work -= end - begin
            begin = end
        # Nobody knows that far ahead; but not all should come in the same second.
        return min(seconds[len(seconds) // 2 :], key=lambda one: self._told.get(one, 0)) + now % 1
