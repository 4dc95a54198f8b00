"""Knows how to have many verifiers cheaply: each a real process, forked from one that has imported everything already.

Four fifths of what `hsm-verifier serve` costs in a test of two seconds are imports. A test suite that starts hundreds
says HSM_ENROL_NURSERY=1; demonstration, bench and tests/verifier/test_served_for_real.py start the command line.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Protocol

from hsm_verifier.__main__ import main as verifier_main

Main = Callable[[list[str]], int]
SWITCH = "HSM_ENROL_NURSERY"


class Running(Protocol):
    """What the laboratory asks of a process, as subprocess.Popen has it."""

    pid: int

    @property
    def stdout(self) -> IO[str] | None:
        """Give the pipe it prints into."""

    def send_signal(self, sig: int) -> None:
        """Send a signal unless it has ended."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, seconds; give the status, negative for a signal. Raises TimeoutExpired."""

    def poll(self) -> int | None:
        """Give the status, or None while it runs."""

    def kill(self) -> None:
        """Kill it."""


class Born:
    """One process out of the nursery."""

    def __init__(self, main: Main, words: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        """Run a module's `main` with these words; its stderr goes to the end of `log`, which exists."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([f"{__name__}_wares"])
        hears, tells = context.Pipe(duplex=False)
        self._process = context.Process(
            target=live, args=(main, tells, str(log), list(words), dict(environment)), daemon=True
        )
        self._process.start()
        tells.close()
        pid = self._process.pid
        assert pid is not None
        self.pid = pid
        self.stdout: IO[str] | None = os.fdopen(os.dup(hears.fileno()), "r", encoding="utf-8")
        hears.close()

    def send_signal(self, sig: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, seconds; give the status, negative for a signal. Raises TimeoutExpired."""
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("hsm-verifier", timeout)
        return status

    def poll(self) -> int | None:
        """Give the status, or None while it runs."""
        return self._process.exitcode

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


def live(main: Main, tells: Connection, log: str, words: list[str], environment: dict[str, str]) -> None:
    """Be that command from here on: its streams, environment and exit status (run in the new process)."""
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(tells.fileno(), 1)
    tells.close()
    err = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(err, 2)
    os.close(err)
    warnings.resetwarnings()
    sys.argv = [main.__module__, *words]
    sys.exit(main(words))


def begin(words: Sequence[str], log: Path, environment: Mapping[str, str]) -> Running:
    """Start `hsm-verifier`, its stderr at the end of `log`: by its command line, or out of the nursery."""
    if os.environ.get(SWITCH):
        log.touch()
        return Born(verifier_main, words, log, environment)
    with log.open("a") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "hsm_verifier", *words],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=dict(environment),
        )
