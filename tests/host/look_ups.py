"""Knows how to end look-ups that a test's resolver kept waiting, so that the next test begins without them."""

import threading
import time


def under_way() -> list[threading.Thread]:
    """Give the look-ups that were left alone and have not ended."""
    return [one for one in threading.enumerate() if one.name == "look-up"]


def let_go(answer: threading.Event) -> None:
    """Let the resolver answer, and see all of them end."""
    answer.set()
    limit = time.monotonic() + 10
    while under_way():  # Python takes a thread for ended when a signal has interrupted who waited for it
        assert time.monotonic() < limit
        time.sleep(0.01)
