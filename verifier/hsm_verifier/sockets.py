"""Knows how others learn that we listen, and where: a line on stdout, and systemd's small protocols.

Those are sockets handed over (sd_listen_fds(3)), READY=1 and WATCHDOG=1 (sd_notify(3)).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys

FIRST_FD = 3  # SD_LISTEN_FDS_START
BACKLOG = 2048


def listening_sockets(host: str, port: int) -> tuple[socket.socket, ...]:
    """Give the sockets systemd handed over, or one made here. Raises OSError."""
    handed = _handed_over()
    made = handed or (_listen(host, port),)
    for sock in made:
        sock.settimeout(0)  # non-blocking, as an event loop wants it
    return made


def announce(line: str) -> None:
    """Print a line that scripts wait for. Nobody has to go on reading: whoever did not is served all the same."""
    try:
        print(line, flush=True)  # noqa: T201
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def notify(state: str) -> None:
    """Tell systemd, if it listens. What it cannot be told now (no file left to open, say) ends nothing here."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where:
        return
    address = "\0" + where[1:] if where.startswith("@") else where
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
    ):
        sock.connect(address)
        sock.sendall(state.encode())


def watchdog_pause() -> float | None:
    """Give the seconds between two signs of life, half of what systemd allows (sd_watchdog_enabled(3)), or None."""
    limit = os.environ.get("WATCHDOG_USEC", "")
    ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(limit) / 2e6 if limit.isdigit() and int(limit) and ours else None


def _handed_over() -> tuple[socket.socket, ...]:
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return ()
    count = int(os.environ.get("LISTEN_FDS", "0"))
    handed = tuple(socket.socket(fileno=fd) for fd in range(FIRST_FD, FIRST_FD + count))
    for sock in handed:
        sock.set_inheritable(False)  # children, should there ever be any, must not hold our port
    return handed


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise at_place(error, host, port) from None
    return sock


def at_place(error: OSError, host: str, port: int) -> OSError:
    """Give an error of listening with the place in it: whoever reads "Address already in use" has to know which."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return OSError(error.errno or errno.EINVAL, error.strerror or str(error), place)
