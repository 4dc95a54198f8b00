"""Knows how to try again: full jitter, growing waits, one deadline that a changed clock cannot move.

One owner of retries for the whole program: IMDS and the verifier's courier come here, and nothing below them (urllib3,
requests) repeats anything by itself. The jitter is the whole wait, drawn from nothing to a growing bound, because a
fleet launched in the same second must not come back in the same second ("full jitter" of the AWS Architecture Blog's
"Exponential Backoff And Jitter").
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import tenacity

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

LONGEST_RETRY_AFTER = 15 * 60.0  # R3: what an answer asks for is cut to this many seconds
SHORTEST_TIMEOUT = 0.001  # a socket time-out of 0 would mean "do not block"; this one ends at once in the ordinary way
_MOST_DOUBLINGS = 32  # 0.2 s doubled 32 times is longer than any deadline; beyond it a float would only overflow


def boottime() -> float:
    """Seconds since this machine booted, time asleep included; setting the wall clock does not move it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Deadline:
    """A moment after which nothing is tried any more.

    Measured on CLOCK_BOOTTIME: time synchronisation steps the wall clock during exactly the minutes in which this
    program runs, and CLOCK_MONOTONIC stands still while an instance hibernates.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = boottime) -> None:
        """Let `seconds` pass from now on."""
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def start_over(self) -> None:
        """Let all its seconds pass from now on."""
        self._end = self._clock() + self.seconds

    def remaining(self) -> float:
        """Seconds left, 0.0 when none are."""
        return max(0.0, self._end - self._clock())

    @property
    def expired(self) -> bool:
        """Whether the moment has come."""
        return self.remaining() <= 0.0

    def timeout(self, cap: float) -> float:
        """Seconds that one network operation may take: at most `cap`, at most what is left, never 0."""
        return max(SHORTEST_TIMEOUT, min(cap, self.remaining()))

    def part(self, seconds: float) -> Deadline:
        """Give a nearer deadline for one piece of the work, never later than this one."""
        return Deadline(min(seconds, self.remaining()), self._clock)

    def anew(self, seconds: float) -> Deadline:
        """Give a deadline by the same clock that begins now, whatever is left of this one."""
        return Deadline(seconds, self._clock)


def retrying(
    deadline: Deadline,
    *,
    on: tuple[type[BaseException], ...],
    sleep: Callable[[float], None],
    rng: random.Random,
    base: float = 0.2,
    cap: float = 10.0,
    room: float = 0.0,
    on_wait: Callable[[BaseException, float], None] | None = None,
) -> tenacity.Retrying:
    """Give a tenacity loop that repeats on the named exceptions only, until it works or the deadline is over.

    The n-th wait is drawn evenly from 0 to min(`cap`, `base` * 2**n) seconds. An exception with a `retry_after`
    (seconds) is obeyed instead, cut to 15 minutes. A wait that would not leave `room` seconds before the deadline is
    not begun: it is over then, and the last exception itself is raised (a try squeezed into the last moment would only
    end in a time-out that hides the cause). `on_wait` hears of each wait before it begins: exception and seconds.
    """

    def wait(state: tenacity.RetryCallState) -> float:
        asked = getattr(_failure(state), "retry_after", None)
        if asked is not None:
            return min(max(0.0, float(asked)), LONGEST_RETRY_AFTER)
        return rng.uniform(0.0, min(cap, base * 2.0 ** min(state.attempt_number - 1, _MOST_DOUBLINGS)))

    def stop(state: tenacity.RetryCallState) -> bool:
        return state.upcoming_sleep + room >= deadline.remaining()

    def tell(state: tenacity.RetryCallState) -> None:
        if on_wait is not None:
            on_wait(_failure(state), state.upcoming_sleep)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(on),
        wait=wait,
        stop=stop,
        sleep=sleep,
        before_sleep=tell,
        reraise=True,
    )


def _failure(state: tenacity.RetryCallState) -> BaseException:
    """Give the exception of the attempt just made: a wait follows nothing else here."""
    failure = state.outcome.exception() if state.outcome is not None else None
    if failure is None:
        raise TypeError("a wait without a failed attempt")
    return failure


def seconds_of(retry_after: str | None) -> float | None:
    """Read a Retry-After header (RFC 9110 section 10.2.3) in its seconds form.

    None when absent or anything else: the date form would need a clock that both sides agree on, which is just what
    cannot be relied on at boot.
    """
    if retry_after is None or not re.fullmatch(r"[0-9]{1,10}", retry_after.strip(), re.ASCII):
        return None
    return float(retry_after)
