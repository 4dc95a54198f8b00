"""Knows how to let blocking code run in made-up time: nobody sleeps, the next thing that happens is simply next.

Tasks are greenlets, so the code under test is the code that ships: it calls `sleep` or waits for a bell, and the
simulation goes on with somebody else. One seed gives one course of events.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet


class Simulation:
    """Time in seconds from 0; `epoch` is what clocks show at 0, in Unix seconds."""

    def __init__(self, epoch: float = 1_800_000_000.0) -> None:
        """Begin at 0 with nothing to do."""
        self.now = 0.0
        self.events = 0
        self._epoch = epoch
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], Any]]] = []
        self._hub: greenlet | None = None

    def clock(self) -> float:
        """Give Unix seconds."""
        return self._epoch + self.now

    def monotonic(self) -> float:
        """Give seconds since the beginning."""
        return self.now

    def at(self, moment: float, action: Callable[[], Any]) -> None:
        """Do something then; actions of one moment in the order in which they were asked for."""
        heapq.heappush(self._agenda, (moment, next(self._order), action))

    def spawn(self, work: Callable[[], Any], after: float = 0.0) -> greenlet:
        """Begin a task."""
        task = greenlet(work)
        self.at(self.now + after, lambda: self._resume(task))
        return task

    def sleep(self, seconds: float) -> None:
        """Let time pass for the task that calls."""
        task = getcurrent()
        self.at(self.now + max(0.0, seconds), lambda: self._resume(task))
        self.pause()

    def pause(self) -> None:
        """Let others go on until somebody resumes this task."""
        if self._hub is None:
            raise RuntimeError("only tasks of a running simulation can wait")
        self._hub.switch()

    def resume(self, task: greenlet) -> None:
        """Let a paused task go on, now."""
        self.at(self.now, lambda: self._resume(task))

    def kill(self, task: greenlet) -> None:
        """End a task where it waits: what it was doing is lost, as in a crash."""
        if not task.dead:
            task.parent = getcurrent()
            task.throw(GreenletExit)

    def run(self, until: float = float("inf")) -> None:
        """Go on until nothing is left to do, or `until`."""
        self._hub = getcurrent()
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, action = heapq.heappop(self._agenda)
            self.events += 1
            action()

    def bell(self) -> Bell:
        """Give something to wait for, as threading.Event."""
        return Bell(self)

    def _resume(self, task: greenlet) -> None:
        if not task.dead:
            task.parent = getcurrent()
            task.switch()


class Bell:
    """threading.Event in made-up time, for one who waits."""

    def __init__(self, simulation: Simulation) -> None:
        """Begin unset."""
        self._simulation = simulation
        self._is_set = False
        self._turn = 0
        self._waiting: greenlet | None = None

    def set(self) -> None:
        """Let the waiter go on."""
        self._is_set = True
        self._wake(self._turn)

    def clear(self) -> None:
        """Make it ready to wait for again."""
        self._is_set = False

    def wait(self, timeout: float) -> bool:
        """Wait; False when the time is over."""
        if not self._is_set:
            self._waiting = getcurrent()
            turn = self._turn = self._turn + 1
            if timeout < float("inf"):
                self._simulation.at(self._simulation.now + timeout, lambda: self._wake(turn))
            self._simulation.pause()
        return self._is_set

    def _wake(self, turn: int) -> None:
        task, self._waiting = (self._waiting, None) if turn == self._turn else (None, self._waiting)
        if task is not None:
            self._simulation.resume(task)


class Cpu:
    """Some cores with one queue before them."""

    def __init__(self, simulation: Simulation, cores: int) -> None:
        """Begin idle."""
        self._simulation = simulation
        self._free = [0.0] * cores
        self.used = 0.0

    def work(self, seconds: float) -> None:
        """Wait for a core and use it."""
        begin = max(self._simulation.now, heapq.heappop(self._free))
        heapq.heappush(self._free, begin + seconds)
        self.used += seconds
        self._simulation.sleep(begin + seconds - self._simulation.now)


class Seats:
    """So many at a time: the verifier's turns (V1)."""

    def __init__(self, simulation: Simulation, count: int) -> None:
        """Begin empty."""
        self._simulation = simulation
        self._left = count
        self._waiting: deque[tuple[greenlet, Bell]] = deque()

    def take(self, patience: float = float("inf")) -> bool:
        """Wait for a seat; False when there was none within `patience` seconds."""
        if self._left:
            self._left -= 1
            return True
        bell = self._simulation.bell()
        here = (getcurrent(), bell)
        self._waiting.append(here)
        if not bell.wait(patience):
            self._waiting.remove(here)
            return False
        return True

    def leave(self) -> None:
        """Give the seat to who waits longest."""
        while self._waiting:
            task, bell = self._waiting.popleft()
            if not task.dead:
                bell.set()
                return
        self._left += 1
