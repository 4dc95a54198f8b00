"""Knows how long an asker may take for its headers and its body (V1); uvicorn's own protocol waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

MAX_HEADERS = 16 * 1024  # bytes of request line and headers; ours are under 1 KiB
MAX_MESSAGE = 256 * 1024  # bytes of one request, chunk extensions and trailers included; bodies end at 32 KiB


class Pipelined(Exception):
    """A request began before the one before it was answered."""


class OneWrite:
    """A transport that sends what is written within one turn of the loop as one piece.

    uvicorn writes a reply's head and its body apart: two TLS records, two packets and two wake-ups of the asker.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Stand before `transport`."""
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep it until the turn ends."""
        if not self._pieces:
            self._loop.call_soon(self._send)
        self._pieces.append(data)

    def close(self) -> None:
        """Close once everything is sent."""
        self._send()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the transport's own."""
        return getattr(self._transport, name)

    def _send(self) -> None:
        if self._pieces:
            whole = b"".join(self._pieces)
            self._pieces.clear()
            self._transport.write(whole)


class TimedProtocol(HttpToolsProtocol):
    """One connection: closed when headers or body are late or long, or replies are not read.

    Tells `on_lost` when it is gone.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        *,
        client: tuple[str, int],
        header_timeout: float,
        body_timeout: float,
        on_lost: Callable[[], None],
    ) -> None:
        """`client` is who connected, which with PROXY protocol is not the socket's peer."""
        super().__init__(config=config, server_state=server_state, app_state={})
        self._who = client
        self._header_timeout = header_timeout
        self._body_timeout = body_timeout
        self._on_lost = on_lost
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._message_bytes = 0
        self._in_headers = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Start the clock for the first request's headers."""
        super().connection_made(OneWrite(transport, self.loop))  # type: ignore[arg-type]  # it asks for no more than that
        self.client = self._who
        self._start(self._header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock; give the source its connection back."""
        self._stop()
        self._stop_unread()
        super().connection_lost(exc)
        self._on_lost()

    def data_received(self, data: bytes) -> None:
        """Count bytes: a request that never ends its headers, or itself, is cut off."""
        self._message_bytes += len(data)
        if self._in_headers:
            self._header_bytes += len(data)
            if self._timer is None:
                self._start(self._header_timeout)
        super().data_received(data)
        if (self._in_headers and self._header_bytes > MAX_HEADERS) or self._message_bytes > MAX_MESSAGE:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Start the clock for an asker that does not read what it is told."""
        super().pause_writing()
        self._stop_unread()
        self._unread = self.loop.call_later(self._body_timeout, self._late)

    def resume_writing(self) -> None:
        """Stop that clock: it reads again."""
        self._stop_unread()
        super().resume_writing()

    def on_message_begin(self) -> None:
        """Take one request at a time: uvicorn would queue thousands of a connection's, each a hundred times its size.

        What is raised here reaches uvicorn as a broken request: it says 400 and closes.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            raise Pipelined
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Go from the headers' clock to the body's."""
        self._in_headers = False
        self._header_bytes = 0
        self._start(self._body_timeout)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the clock: from here on it is our own time."""
        self._stop()
        self._in_headers = True
        self._message_bytes = 0
        super().on_message_complete()

    def _start(self, seconds: float) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, self._late)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _late(self) -> None:
        self._timer = None
        transport: Any = self.transport
        transport.abort()  # not close(): a TLS goodbye would wait for a peer that does not read
