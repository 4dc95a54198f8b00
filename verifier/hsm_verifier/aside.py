"""Knows how turns have something done in another thread: each for itself, or many in one go.

Outside a turn (the command line, a simulation, a test) both do it in place: then there is nobody who could go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from hsm_verifier.turns import in_turn, wait_for

T = TypeVar("T")
J = TypeVar("J")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Failed:
    """What came of a job that raised something."""

    error: BaseException


def attempt(work: Callable[[], T]) -> T | Failed:
    """Give what came of `work`. A future cannot hold every exception: one it refuses would keep its waiter for ever."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  whoever asked for it hears of it
        return Failed(error)


def _given(found: T | Failed) -> T:
    if isinstance(found, Failed):
        raise found.error
    return found


class Aside(Protocol):
    """Has something done that takes time."""

    def __call__(self, work: Callable[[], T], /) -> T:
        """Give what `work` gives, or raise what it raises."""


def in_place(work: Callable[[], T], /) -> T:
    """Do it here and now."""
    return work()


class Threads:
    """Has work done by one of some threads while other turns go on; what comes beyond them waits for its turn."""

    def __init__(self, count: int, name: str) -> None:
        """Start a thread when it is first wanted."""
        self._pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix=name)

    def __call__(self, work: Callable[[], T], /) -> T:
        """Give what `work` gives, or raise what it raises."""
        if not in_turn():
            return work()
        return _given(wait_for(asyncio.get_running_loop().run_in_executor(self._pool, attempt, work)))

    def close(self) -> None:
        """Wait for the work that was begun."""
        self._pool.shutdown(wait=True)


class Together(Generic[J, R]):
    """Does in one go, in a thread of its own, what was asked for while the last go was under way.

    Who finds nothing under way is begun with at once: one alone waits for nobody. `carry_out` gets at most `most` jobs
    in the order in which they were asked for, and gives for each what came of it; what it raises, all of them hear.
    """

    def __init__(self, carry_out: Callable[[list[J]], list[R | Failed]], *, name: str, most: int = 64) -> None:
        """Start the thread. Raises RuntimeError when there is none to be had: better now than under an asker."""
        self._carry_out, self._most = carry_out, most
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._thread.submit(bool)
        self._asked: list[tuple[J, asyncio.Future[R | Failed]]] = []
        self._under_way = False

    def ask(self, job: J) -> R:
        """Give what came of it. Raises what the job raised."""
        if not in_turn():
            (found,) = self._carry_out([job])
            return _given(found)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R | Failed] = loop.create_future()
        self._asked.append((job, answer))
        if not self._under_way:
            self._begin(loop)
        return _given(wait_for(answer))

    def close(self) -> None:
        """Wait for what was begun."""
        self._thread.shutdown(wait=True)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._asked = self._asked[: self._most], self._asked[self._most :]
        future = loop.run_in_executor(self._thread, self._carry_out, [job for job, _ in batch])
        self._under_way = True
        future.add_done_callback(lambda done: self._tell(loop, batch, done))

    def _tell(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[tuple[J, asyncio.Future[R | Failed]]],
        done: asyncio.Future[list[R | Failed]],
    ) -> None:
        """Go on with those who came meanwhile, then tell these."""
        self._under_way = False
        if self._asked:
            self._begin(loop)
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        found = done.result() if error is None else [Failed(error)] * len(batch)
        for (_, answer), one in zip(batch, found, strict=True):
            if not answer.done():  # else its turn was given up
                answer.set_result(one)
