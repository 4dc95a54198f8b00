"""Knows how to begin something that waits for the network before its turn, so that its waiting costs nobody anything.

One act, one thread, one outcome, taken by whoever would have done it otherwise. What it raises is raised there, as if
it had been done there. Signals stay the main thread's.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from hsm_enrol.host.retry import boottime

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Early(Generic[T]):
    """An act under way. Nobody has to take its outcome: a run that ends before is not held up by it."""

    def __init__(self, act: Callable[[], T]) -> None:
        """Begin it. It must have a deadline of its own."""
        self._act = act
        self._done: list[T] = []
        self._failed: list[BaseException] = []
        self._came = 0.0
        self._thread = threading.Thread(target=self._run, name="early", daemon=True)
        self._thread.start()

    def take(self, seconds: float, *, fresh: float) -> T | None:
        """Wait at most `seconds` for the outcome; None when it is older than `fresh` seconds.

        Raises TimeoutError, and what the act raised.
        """
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise TimeoutError
        if boottime() - self._came > fresh:
            return None
        if self._failed:
            raise self._failed[0]
        return self._done[0]

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._done.append(self._act())
        except BaseException as error:  # noqa: BLE001  raised by whoever takes the outcome
            self._failed.append(error)
        self._came = boottime()
