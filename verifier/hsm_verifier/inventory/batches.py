"""Knows how to turn many look-ups into few calls: who comes while one is under way shares the next; answers live on.

An asker who finds nothing under way calls at once: a single instance waits for nobody. The busier it is, the more
share a call, so that a fleet costs a number of calls that depends on how long it comes, not on how large it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, Protocol, TypeVar

from hsm_verifier.inventory.pace import Pace

STEP = 0.005  # seconds by which each call that many waited for moves the next away
FEW = 8  # who share a call
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Bell(Protocol):
    """What a thread waits for, as threading.Event."""

    def set(self) -> None:
        """Let the waiter go on."""

    def wait(self, timeout: float) -> bool:
        """Wait; False when the time is over."""

    def clear(self) -> None:
        """Make it ready to wait for again."""


class Batches(Generic[K, V]):
    """Coalesces calls of `fetch(keys)`, which gives what it found; a key it does not give is absent (None).

    One call at a time, at most `most` keys a call; starts are `gap` seconds apart, and up to `spacing` while they keep
    coming (pace.py). What was found is kept for `keep` seconds; absence is not kept. An exception of `fetch` reaches
    every asker of its batch.
    """

    def __init__(
        self,
        fetch: Callable[[list[K]], dict[K, V]],
        *,
        gap: float = 0.1,
        spacing: float = 0.4,
        keep: float = 5.0,
        most: int = 200,
        clock: Callable[[], float] = time.monotonic,
        bell: Callable[[], Bell] = threading.Event,
    ) -> None:
        """Take times in seconds. `clock` and `bell` are a simulation's when there is no time to wait for."""
        self._fetch, self._keep, self._most = fetch, keep, most
        self._pace = Pace(least=gap, most=spacing, step=STEP)
        self._clock, self._bell = clock, bell
        self._lock = threading.Lock()
        self._waiting: dict[K, list[_Seat[V]]] = {}
        self._under_way: dict[K, list[_Seat[V]]] = {}
        self._led = False
        self._kept: dict[K, tuple[float, V]] = {}
        self._sweep_at = 0.0

    def get(self, key: K, timeout: float) -> V | None:
        """Give the value of `key`, None when it is absent. Raises what `fetch` raised, TimeoutError."""
        seat: _Seat[V] = _Seat(self._bell())
        with self._lock:
            now = self._clock()
            kept = self._kept.get(key)
            if kept is not None and kept[0] > now:
                return kept[1]
            (self._under_way if key in self._under_way else self._waiting).setdefault(key, []).append(seat)
            seat.leads, self._led = not self._led, True
        until = now + timeout
        try:
            while not seat.done:
                if seat.leads:
                    self._lead(seat)
                # Unless the answer, or the turn to ask for all, came in the same moment.
                elif not seat.bell.wait(max(0.0, until - self._clock())) and not seat.leads:
                    break
        finally:  # a turn that is given up too: who waits with it must not miss the one who asks
            if not seat.done:
                self._leave(key, seat)
        if not seat.done:
            raise TimeoutError
        return seat.result()

    def _leave(self, key: K, seat: _Seat[V]) -> None:
        """Give up waiting, and the turn to ask for all with it."""
        with self._lock:
            for seats in (self._waiting, self._under_way):
                if seat in seats.get(key, []):
                    seats[key].remove(seat)
                    if not seats[key]:
                        del seats[key]
            following = self._hand_over() if seat.leads else None
        if following is not None:
            following.bell.set()

    def _hand_over(self) -> _Seat[V] | None:
        """Choose who makes the next call, of those who wait. The lock is held."""
        following = next((seats[0] for seats in self._waiting.values()), None)
        self._led = following is not None
        if following is not None:
            following.leads = True
        return following

    def _lead(self, seat: _Seat[V]) -> None:
        """Make one call for those who wait, then let one of those who came meanwhile make the next."""
        seat.bell.clear()
        if early := self._pace.wait(self._clock()):
            seat.bell.wait(early)  # nobody rings: this is the pause that keeps calls apart
        with self._lock:
            seat.leads = False
            keys = list(self._waiting)[: self._most]
            self._under_way = {key: self._waiting.pop(key) for key in keys}
            self._pace.start(self._clock(), many=len(keys) > FEW)
        found: dict[K, V] = {}
        error: BaseException | None = None
        try:
            if keys:
                found = self._fetch(keys)
        except BaseException as caught:  # noqa: BLE001  every asker of the batch hears of it, whatever it is
            error = caught
        with self._lock:
            served, self._under_way = self._under_way, {}
            self._remember(found)
            following = self._hand_over()
        for key, seats in served.items():
            _tell(seats, found.get(key), error)
        if following is not None:
            following.bell.set()

    def _remember(self, found: dict[K, V]) -> None:
        now = self._clock()
        if now >= self._sweep_at:  # so that sweeping costs little however much is kept
            self._kept = {key: kept for key, kept in self._kept.items() if kept[0] > now}
            self._sweep_at = now + self._keep
        self._kept |= {key: (now + self._keep, value) for key, value in found.items()}


class _Seat(Generic[V]):
    """One asker who waits."""

    __slots__ = ("_error", "_value", "bell", "done", "leads")

    def __init__(self, bell: Bell) -> None:
        self.bell = bell
        self.done = False
        self.leads = False
        self._value: V | None = None
        self._error: BaseException | None = None

    def tell(self, value: V | None, error: BaseException | None) -> None:
        self._value, self._error, self.done = value, error, True
        self.bell.set()

    def result(self) -> V | None:
        if self._error is not None:
            raise self._error
        return self._value


def _tell(seats: Iterable[_Seat[V]], value: V | None, error: BaseException | None) -> None:
    for seat in seats:
        seat.tell(value, error)
