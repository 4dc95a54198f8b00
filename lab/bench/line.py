"""Knows how to speak HTTP/1.1 over TLS for as little CPU as Python allows: it must cost less than the server.

One connection, one request at a time, bodies with Content-Length only: all that hsm-verifier ever sends.
"""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_RETRY = re.compile(rb"\r\nretry-after: *([0-9]+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class Broken(Exception):
    """The connection ended before the whole reply was there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One reply; `retry_after` in seconds, `close` when the server wants no further request on this connection."""

    status: int
    body: bytes
    retry_after: float | None
    close: bool


def context_of(ca_file: Path) -> ssl.SSLContext:
    """Trust this authority and no other."""
    return ssl.create_default_context(cafile=str(ca_file))


class Line:
    """An open connection. Raises OSError when it cannot be opened."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, timeout: float = 30.0) -> None:
        """Connect and shake hands."""
        self._host = f"{address[0]}:{address[1]}"
        raw = socket.create_connection(address, timeout)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = context.wrap_socket(raw, server_hostname=address[0])
        except BaseException:
            raw.close()
            raise

    def ask(self, method: str, path: str, kind: str = "", body: bytes = b"") -> Reply:
        """Send one request and read its reply. Raises OSError, Broken."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n"
        if kind:
            head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        self._socket.sendall(head.encode() + b"\r\n" + body)
        got = bytearray()
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self._more()
        headers = bytes(got[: end + 2])
        length = _LENGTH.search(headers)
        wanted = end + 4 + (int(length[1]) if length else 0)
        while len(got) < wanted:
            got += self._more()
        retry = _RETRY.search(headers)
        return Reply(
            status=int(headers[9:12]),
            body=bytes(got[end + 4 : wanted]),
            retry_after=float(retry[1]) if retry else None,
            close=_CLOSE.search(headers) is not None,
        )

    def close(self) -> None:
        """End without a TLS goodbye, as a process that exits does."""
        self._socket.close()

    def __enter__(self) -> Self:
        """Use inside a with block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _more(self) -> bytes:
        piece = self._socket.recv(65536)
        if not piece:
            raise Broken
        return piece
