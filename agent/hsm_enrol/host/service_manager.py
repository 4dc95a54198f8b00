"""Knows how to tell systemd that a run goes on: it ends one at TimeoutStartSec=, unless that asks for more time."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

MARGIN: Final = 90.0  # seconds: for an undo, and for what comes between two messages
PATIENCE: Final = 5.0  # seconds for a manager whose queue is full, as while it is reloaded; a run goes on without it


def ask_for_time(seconds: float) -> None:
    """Say that up to `seconds`, and the margin, are still needed (sd_notify(3)); nothing where no systemd listens.

    That never takes time away: systemd keeps the later of this and what was to be the end before.
    """
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where:
        return
    import socket  # noqa: PLC0415  a twelfth of what `status` imports

    address = "\0" + where[1:] if where.startswith("@") else where
    message = f"EXTEND_TIMEOUT_USEC={int((seconds + MARGIN) * 1e6)}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(address)
        sock.sendall(message.encode())
