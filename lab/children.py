"""Knows how to run somebody else's server for a while: it dies with us; its start is waited for, not slept for."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path


class NotStarted(Exception):
    """A server did not come up: carries the end of what it said."""


def free_port() -> int:
    """Give a loopback port that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def connect(port: int) -> socket.socket:
    """Connect to a loopback port. Raises OSError."""
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def start(words: list[str], log: Path, *, user: str = "", env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a server that the kernel ends when this thread's process does (prctl(2), PR_SET_PDEATHSIG)."""
    become = [f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    with log.open("ab") as out:
        return subprocess.Popen(
            ["setpriv", *become, "--pdeathsig=KILL", *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=dict(env),
        )


def wait(process: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Wait until `ready` says so. Raises NotStarted when the process ends or the time is over."""
    tick = threading.Event()
    end = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            raise NotStarted(log.read_text(errors="replace")[-2000:])
        tick.wait(0.01)


def stop(process: subprocess.Popen[bytes], *, number: int, seconds: float = 20.0) -> None:
    """End a process by a signal, by SIGKILL when that is not enough."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
