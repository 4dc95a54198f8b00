"""Knows how to hold back the signals that end us until a step is whole: no exception comes out of nowhere."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hsm_enrol.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def raising() -> Iterator[None]:
    """Turn those signals into Interrupted in this block: for the time of asking and waiting, when nothing is begun.

    One that whoever started us had us ignore, as nohup does, stays ignored.
    """

    def stop(number: int, _: FrameType | None) -> None:
        raise Interrupted(signal=signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in HELD if _counts(number)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Block SIGTERM, SIGINT and SIGHUP in this block; ask `pending` between steps.

    A signal that was answered by raising Interrupted is used up on leaving; one that came too late for that is
    delivered on leaving, when there is nothing left to undo.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    except Interrupted:
        while signal.sigtimedwait(HELD, 0) is not None:
            pass
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def pending() -> str | None:
    """Give the name of a signal that waits to be taken; None when none does."""
    waiting = signal.sigpending()
    return next((number.name for number in HELD if number in waiting and _counts(number)), None)


def _counts(number: signal.Signals) -> bool:
    return signal.getsignal(number) != signal.SIG_IGN  # while it is blocked, the kernel keeps one that is ignored too


def stop_if_asked() -> None:
    """Raise Interrupted when a signal waits: between two steps, where there is something whole to undo."""
    if name := pending():
        raise Interrupted(signal=name)
