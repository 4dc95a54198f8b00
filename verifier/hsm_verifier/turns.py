"""Knows how straight code waits without a thread of its own: it gives the loop back until what it waits for is there.

A decision is written from top to bottom and calls what it needs. Where that takes time (AWS, the disk), a thread each
would spend more on changing threads than on deciding. So each request is a turn: a greenlet, as SQLAlchemy's asyncio
is made of. All turns run in the loop's thread, one at a time; one changes to another only in `wait_for`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from greenlet import getcurrent, greenlet

T = TypeVar("T")


class _Turn(greenlet):  # type: ignore[misc]  # it comes without types
    """One request's work."""


async def take_turn(work: Callable[[], T]) -> T:
    """Give what `work` gives, or raise what it raises; whenever it waits, others have their turn."""
    turn = _Turn(work)
    told = turn.switch()
    while not turn.dead:
        try:
            found = await cast("Awaitable[Any]", told)
        except BaseException as error:  # noqa: BLE001  the turn hears of it where it waits, being cancelled included
            told = turn.throw(error)
        else:
            told = turn.switch(found)
    return cast("T", told)


def in_turn() -> bool:
    """Tell whether the caller is a turn, and so may `wait_for` something."""
    return isinstance(getcurrent(), _Turn)


def wait_for(something: Awaitable[T]) -> T:
    """Let others have their turn until it is there; gives it, or raises what it raises. Only for turns."""
    if not in_turn():
        raise RuntimeError("only a turn can wait")
    loop = getcurrent().parent
    if loop is None:
        raise RuntimeError("a turn has a loop that it came from")
    return cast("T", loop.switch(something))


def bell() -> TurnBell | threading.Event:
    """Give a bell for who calls: a turn must not keep the loop's thread waiting."""
    return TurnBell() if in_turn() else threading.Event()


class TurnBell:
    """What one turn waits for and another rings: threading.Event for turns of one loop."""

    def __init__(self) -> None:
        """Begin unset."""
        self._is_set = False
        self._waiting: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Let the waiter go on."""
        self._is_set = True
        self._wake()

    def clear(self) -> None:
        """Make it ready to wait for again."""
        self._is_set = False

    def wait(self, timeout: float) -> bool:
        """Wait; False when the time is over. `timeout` in seconds."""
        if not self._is_set:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            over = loop.call_later(timeout, self._wake)
            try:
                wait_for(self._waiting)
            finally:
                over.cancel()
                self._waiting = None
        return self._is_set

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
