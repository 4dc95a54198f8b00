"""Knows how several processes write to one SQLite file in turn: who waits for longest is next.

SQLite's own waiting sleeps longer and longer between its looks; beside a process that writes all the time it may miss
every gap, and give up. Nothing depends on this queue but who waits: without it SQLite's lock still keeps them apart.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from types import TracebackType

LOOK = 0.001  # seconds between two looks
PATIENCE = 5.0  # seconds; then SQLite's own lock says who has it


class Writers:
    """One writer at a time among the threads of all processes that name the same file."""

    def __init__(self, path: str) -> None:
        """Make the files when first wanted: `path` with -next and -turn; none for a database that has no file."""
        self._path = path
        self._threads = threading.Lock()
        self._files: tuple[int, int] | None = None

    def __enter__(self) -> None:
        """Wait for the turn. Who is next holds -next until it has -turn, so that nobody overtakes it."""
        self._threads.acquire()
        try:
            with contextlib.suppress(OSError):  # in a folder that is read-only, say: SQLite will have its say
                following, turn = self._open()
                until = time.monotonic() + PATIENCE
                if _lock(following, until):
                    _lock(turn, until)
                fcntl.flock(following, fcntl.LOCK_UN)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let the next have it."""
        if self._files is not None:
            fcntl.flock(self._files[1], fcntl.LOCK_UN)
        self._threads.release()

    def close(self) -> None:
        """Close the files."""
        with self._threads:
            for one in self._files or ():
                os.close(one)
            self._files = None

    def _open(self) -> tuple[int, int]:
        if self._path in {"", ":memory:"}:
            raise FileNotFoundError
        if self._files is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            following = os.open(f"{self._path}-next", flags, 0o600)
            try:
                self._files = following, os.open(f"{self._path}-turn", flags, 0o600)
            except OSError:
                os.close(following)
                raise
        return self._files


def _lock(file: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(LOOK)
        else:
            return True
