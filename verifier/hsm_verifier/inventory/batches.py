"""Knows how to turn many look-ups into one: those that arrive together share one call, and answers live for seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Batches(Generic[K, V]):
    """Coalesces calls of `fetch(keys)`, which gives what it found; a key it does not give is absent (None).

    The first asker waits `window` seconds for company, then fetches for all, at most `most` keys a call. What was found
    is kept for `keep` seconds; absence is not kept. An exception of `fetch` reaches every asker of its batch.
    """

    def __init__(
        self,
        fetch: Callable[[list[K]], dict[K, V]],
        *,
        window: float = 0.01,
        keep: float = 5.0,
        most: int = 200,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take times in seconds."""
        self._fetch, self._window, self._keep, self._most = fetch, window, keep, most
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._waiting: dict[K, Future[V | None]] = {}
        self._kept: dict[K, tuple[float, V]] = {}

    def get(self, key: K, timeout: float) -> V | None:
        """Give the value of `key`, None when it is absent. Raises what `fetch` raised, TimeoutError."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0] > self._clock():
                return kept[1]
            future = self._waiting.get(key)
            leads = not self._waiting
            if future is None:
                future = self._waiting[key] = Future()
        if leads:
            self._sleep(self._window)
            self._run()
        return future.result(timeout)

    def _run(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, {}
        keys = list(batch)
        for at in range(0, len(keys), self._most):
            part = keys[at : at + self._most]
            try:
                found = self._fetch(part)
            except BaseException as error:  # noqa: BLE001  every asker of the batch hears of it, whatever it is
                for key in part:
                    batch[key].set_exception(error)
                continue
            with self._lock:
                now = self._clock()
                self._kept = {key: kept for key, kept in self._kept.items() if kept[0] > now}
                self._kept |= {key: (now + self._keep, value) for key, value in found.items()}
            for key in part:
                batch[key].set_result(found.get(key))
