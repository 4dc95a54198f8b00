"""Knows how to begin something that waits for the network before its turn, so that its waiting costs nobody anything.

One act, one thread, one outcome, taken by whoever would have done it otherwise, or cannot wait as long as it takes.
What it raises is raised there, as if it had been done there. Signals stay the main thread's.
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

    def __init__(self, act: Callable[[], T], name: str = "early") -> None:
        """Begin it, in a thread of that name."""
        self._act = act
        self._done: list[T] = []
        self._failed: list[BaseException] = []
        self._came: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def take(self, seconds: float) -> T:
        """Wait at most `seconds` for the outcome. Raises TimeoutError, and what the act raised."""
        self._thread.join(seconds)
        if self._came is None:
            raise TimeoutError
        if self._failed:
            raise self._failed.pop()  # kept here, it would keep alive whatever its takers hold
        return self._done[0]

    @property
    def age(self) -> float:
        """Seconds since it ended, however it did; 0.0 before."""
        return 0.0 if self._came is None else boottime() - self._came

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._done.append(self._act())
        except BaseException as error:  # noqa: BLE001  raised by whoever takes the outcome
            self._failed.append(error)
        self._came = boottime()
