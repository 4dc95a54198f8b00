"""Knows how to start a program on a terminal of its own, and how it ended; none of our code runs in the child.

Between fork and exec the child of a program with threads may do next to nothing, and a name's look-up that was left
alone (`host/dial.py`) is a thread for as long as the C library likes. posix_spawn has no such time: what is to be
different in the child is told before, and the C library does it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from hsm_enrol.shapes import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LOOK, LONGEST_LOOK = 0.0005, 0.01  # seconds between two looks at a child that is waited for: doubled each time
# What the child has by default although we may ignore it: with HUP ignored it would survive the hang-up that ends it.
DEFAULT = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)
_STANDARD = 3  # descriptors that each program has


@dataclass(slots=True, kw_only=True)
class Child:
    """One program that was started; `returncode` None until its end is known, negative: the signal it died of."""

    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        """Look whether it has ended."""
        return self._look(os.WNOHANG)

    def wait(self) -> None:
        """Wait for its end, however long that takes: for who has sent SIGKILL."""
        self._look(0)

    def wait_for(self, seconds: float) -> None:
        """Wait for its end, at most so long. Most programs end at once after they closed their terminal."""
        ends, pause = time.monotonic() + seconds, LOOK
        while self.poll() is None and time.monotonic() < ends:
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK)

    def _look(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def start(argv: Sequence[str], terminal: int, environment: Mapping[str, str], held: int | None) -> Child:
    """Start `argv` in a session of its own: `terminal` is its controlling one, no signal is blocked, cwd is /.

    `held` stays open in it, and nothing else of ours. Raises OSError when it cannot be started.
    """
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:  # inherited; nobody could tell how a child ended
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    slave, kept = fcntl.fcntl(terminal, fcntl.F_DUPFD_CLOEXEC, _STANDARD), None
    try:
        if held is not None:
            kept = fcntl.fcntl(held, fcntl.F_DUPFD, _STANDARD)  # a duplicate that exec leaves open
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            # Who leads a session and opens a terminal has it as the controlling one; setsid comes before all of these.
            (os.POSIX_SPAWN_OPEN, 0, f"/proc/self/fd/{slave}", os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
            *((os.POSIX_SPAWN_CLOSE, number) for number in _inherited() if number != kept),
        ]
        with _tidy():
            pid = os.posix_spawn(
                argv[0], tuple(argv), environment, file_actions=actions, setsid=True, setsigmask=(), setsigdef=DEFAULT
            )
        return Child(pid=pid)
    finally:
        os.close(slave)
        if kept is not None:
            os.close(kept)


def _inherited() -> list[int]:
    """Give what exec would leave open of what whoever started us had open."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one it was read by
            if int(name) >= _STANDARD and os.get_inheritable(int(name)):
                found.append(int(name))
    return found


@contextmanager
def _tidy() -> Iterator[None]:
    """Be in / with the usual umask, for a child that inherits both; and stay there if there is no way back."""
    here = None
    with suppress(OSError):  # a folder that we may not search, or that is gone
        here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mask = os.umask(0o022)
    try:
        os.chdir("/")
        yield
    finally:
        os.umask(mask)
        if here is not None:
            with suppress(OSError):
                os.fchdir(here)
            os.close(here)
