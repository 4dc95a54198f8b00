"""Signals wait until a step is whole: seen when polled, used up by the error that answers them."""

import signal
import threading

import pytest

from hsm_enrol.errors import Interrupted
from hsm_enrol.host import signals


@pytest.mark.parametrize("number", signals.HELD)
def test_a_signal_waits_and_is_seen_by_name(number: signal.Signals) -> None:
    with pytest.raises(Interrupted), signals.held():  # noqa: PT012  the block is the test
        assert signals.pending() is None
        signal.pthread_kill(threading.get_ident(), number)  # a test worker has other threads; the agent has not
        assert signals.pending() == number.name
        raise Interrupted(signal=number.name)
    assert signals.pending() is None
    assert not set(signals.HELD) & signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_signal_that_came_too_late_is_delivered_after_the_work() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with signals.held():
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            assert heard == []
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_that_was_ignored_from_the_start_stays_so() -> None:
    """As `nohup` starts a program, and a shell its background jobs: whoever hangs up must not end the run."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.raising():
            signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
            with signals.held():
                signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
                assert signals.pending() is None
                signals.stop_if_asked()
            with pytest.raises(Interrupted):
                signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
