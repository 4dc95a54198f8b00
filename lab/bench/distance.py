"""Knows how to put a distance between a client and a server on one machine: bytes arrive later, in both directions."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self


class Distance:
    """A door at `port` to `target`, so many seconds of round trip away; also for the handshake of TCP itself."""

    def __init__(self, target: tuple[str, int], round_trip: float) -> None:
        """Listen on loopback."""
        self._target, self._half = target, round_trip / 2
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, name="distance", daemon=True)

    def __enter__(self) -> Self:
        """Carry inside a with block."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the door; connections that are open end with their sides."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        time.sleep(2 * self._half)  # the kernel has answered at once; a far host's SYN+ACK takes a round trip
        try:
            far = socket.create_connection(self._target, 10)
        except OSError:
            near.close()
            return
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.settimeout(30)
        back = threading.Thread(target=self._carry, args=(far, near), daemon=True)
        back.start()
        self._carry(near, far)
        back.join()
        near.close()
        far.close()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                time.sleep(self._half)
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
