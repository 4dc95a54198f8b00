"""Knows the wrong ways in which something can answer for IMDS: one function per way, named for switches and tests.

All made up from the reports of other projects' users (a proxy's page, another machine's service) and from what somebody
in the way could try.
"""

from __future__ import annotations

import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import io
    import threading
    from collections.abc import Callable

BOMB_BYTES = 64 * 1024 * 1024  # what the small gzip answer would unpack to


class _Server(Protocol):
    stopping: threading.Event


class Answering(Protocol):
    """The part of a request handler that a trouble needs."""

    wfile: io.BufferedIOBase
    close_connection: bool

    @property
    def server(self) -> _Server:
        """The server, whose end ends endless answers."""

    def answer(self, status: HTTPStatus, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send one whole answer."""

    def begin(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        """Send status line and headers."""


def html(to: Answering) -> None:
    """Give a proxy's page, with 200 as captive portals do."""
    to.answer(HTTPStatus.OK, b"<html><body>Please log in</body></html>", {"Content-Type": "text/html"})


def oversize(to: Answering) -> None:
    """Give a body of 1 MiB that says so."""
    to.answer(HTTPStatus.OK, b"a" * (1024 * 1024))


def endless(to: Answering) -> None:
    """Give a body without length or end."""
    to.close_connection = True
    to.begin(HTTPStatus.OK, {"Content-Type": "text/plain"})
    while not to.server.stopping.is_set():
        to.wfile.write(b"a" * 4096)


def drip(to: Answering) -> None:
    """Give a body one byte at a time, each in good time for a reader that counts only from byte to byte."""
    to.close_connection = True
    to.begin(HTTPStatus.OK, {"Content-Type": "text/plain", "Content-Length": "4096"})
    while not to.server.stopping.wait(0.02):
        to.wfile.write(b"a")
        to.wfile.flush()


def drip_headers(to: Answering) -> None:
    """Give the status line and then headers, one byte at a time, without end."""
    to.close_connection = True
    to.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not to.server.stopping.wait(0.02):
        to.wfile.write(b"a")
        to.wfile.flush()


def redirect(to: Answering) -> None:
    """Send the asker to another machine's service."""
    to.answer(HTTPStatus.FOUND, b"", {"Location": "http://127.0.0.1:9/latest/meta-data/instance-id"})


def gzip_bomb(to: Answering) -> None:
    """Give a small answer that unpacks to 64 MiB, though nobody offered to unpack."""
    packer = zlib.compressobj(wbits=31)
    body = packer.compress(bytes(BOMB_BYTES)) + packer.flush()
    to.answer(HTTPStatus.OK, body, {"Content-Encoding": "gzip"})


def truncated(to: Answering) -> None:
    """Promise more than is sent."""
    to.close_connection = True
    to.begin(HTTPStatus.OK, {"Content-Type": "text/plain", "Content-Length": "4096"})
    to.wfile.write(b"i-0")


def empty(to: Answering) -> None:
    """Give nothing at all, with 200."""
    to.answer(HTTPStatus.OK, b"")


def garbage(to: Answering) -> None:
    """Speak another protocol."""
    to.close_connection = True
    to.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n")


TROUBLES: Final[dict[str, Callable[[Answering], None]]] = {
    trouble.__name__: trouble
    for trouble in (html, oversize, endless, drip, drip_headers, redirect, gzip_bomb, truncated, empty, garbage)
}
