"""Knows how to put a distance between a client and a server on one machine: bytes arrive later, in both directions."""

from __future__ import annotations

import contextlib
import queue
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
        """Bring each piece half a round trip after it came; as on a wire, many are under way at the same time."""
        under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        arriving = threading.Thread(target=arrive, args=(under_way, sink), daemon=True)
        arriving.start()
        piece = b"-"
        while piece:
            try:
                piece = source.recv(65536)
            except OSError:
                piece = b""
            under_way.put((time.monotonic() + self._half, piece))
        arriving.join()


def arrive(under_way: queue.SimpleQueue[tuple[float, bytes]], sink: socket.socket) -> None:
    """Hand over what is under way when its moment has come; an empty piece is the end."""
    with contextlib.suppress(OSError):
        moment, piece = under_way.get()
        while piece:
            time.sleep(max(0.0, moment - time.monotonic()))
            sink.sendall(piece)
            moment, piece = under_way.get()
        time.sleep(max(0.0, moment - time.monotonic()))
        sink.shutdown(socket.SHUT_WR)
