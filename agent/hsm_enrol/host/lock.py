"""Knows how to be the only one at work on this host, and to stay that while a tool we started is still writing."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from hsm_enrol.errors import Busy, CannotWrite
from hsm_enrol.host.folders import errno_name

if TYPE_CHECKING:
    from types import TracebackType


class Lock:
    """`/run/hsm-enrol/lock`, 0600: an flock(2) held from entering to leaving. Raises Busy, CannotWrite.

    The descriptor is passed on to the Luna tools. An flock belongs to the open file, not to the process, so a tool
    that outlives a killed agent keeps the lock: no later run recovers under a tool that is still writing.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock without waiting."""
        try:
            with suppress(FileExistsError):
                os.mkdir(folder := os.path.dirname(self.path), 0o755)
                os.chmod(folder, 0o755)  # noqa: S103  whatever our umask is: others read metrics there
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotWrite(path=self.path, error=errno_name(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise Busy from error
            raise CannotWrite(path=self.path, error=errno_name(error)) from error
        self._descriptor = descriptor
        return self

    def fileno(self) -> int:
        """Give the descriptor, to be inherited by the tools."""
        if self._descriptor is None:
            raise ValueError("the lock is not held")
        return self._descriptor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let go by closing: LOCK_UN would also take the lock from a tool that still lives."""
        os.close(self.fileno())
        self._descriptor = None


def is_held(path: str) -> bool:
    """Tell whether somebody holds that lock, without taking it: who looks must not keep a run out. False if unknown."""
    try:
        found = os.stat(path, follow_symlinks=False)
        place = f" {os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino} "
        with open("/proc/locks", encoding="ascii", errors="replace") as table:
            return any(" FLOCK " in line and place in line for line in table)
    except OSError:
        return False
