"""Knows how to keep TLS connections to STS open: a new handshake for each asker would cost more than all other checks.

A connection is borrowed, used for one request and given back when its reply was read whole. The name in SNI, in the
certificate and in the Host header is always STS's own, also when an egress of the site's is dialled in its place.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import certifi

from hsm_verifier.refusal import Refusal

CONNECT_SECONDS = 3.0
KEPT = 64  # idle connections a host; workers beyond that many open one for themselves
MAX_BYTES = 64 * 1024
SHORTEST = 0.1  # seconds that an operation gets at least, so that a socket time-out is never 0
HTTPS = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class StsReply:
    """Status and body as they came."""

    status: int
    body: bytes


class StsLines:
    """Connections by host. `connect` ("host:port") is dialled in place of the host, "" the host itself."""

    def __init__(self, *, connect: str, ca_file: str, clock: Callable[[], float]) -> None:
        """Read the roots once: `ca_file`, or the public ones. Raises OSError, ssl.SSLError."""
        self._connect = connect
        self._clock = clock
        # Not create_default_context: without a file it reads SSL_CERT_FILE, and the environment has no say here.
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.load_verify_locations(ca_file or certifi.where())
        self._idle: dict[str, list[_Line]] = {}

    def post(self, host: str, headers: Mapping[str, str], body: bytes, deadline: float, *, fresh: bool) -> StsReply:
        """Send one request; `deadline` by the clock. `fresh` takes no connection that was used before.

        Raises OSError, ssl.SSLError and http.client.HTTPException when the connection fails; Refusal when the reply is
        too long or too late.
        """
        line = (None if fresh else self._borrow(host)) or self._open(host, deadline)
        try:
            line.sock.settimeout(self._left(deadline))
            line.request("POST", "/", body=body, headers=dict(headers))
            with line.getresponse() as response:
                reply = StsReply(status=response.status, body=self._read(line, response, deadline))
                whole = not response.will_close
        except BaseException:
            line.close()
            raise
        self._give_back(host, line, whole=whole)
        return reply

    def close(self) -> None:
        """Hang up."""
        for lines in self._idle.values():
            while lines:
                lines.pop().close()

    def __del__(self) -> None:
        """Hang up when nobody is left who could ask."""
        self.close()

    def _read(self, line: _Line, response: http.client.HTTPResponse, deadline: float) -> bytes:
        body = bytearray()
        while piece := response.read1(8192):
            body += piece
            if len(body) > MAX_BYTES:
                raise Refusal("upstream_busy", "V8 sts_oversize", alarm=True)
            if self._clock() >= deadline:
                raise Refusal("upstream_busy", "V8 sts_slow")
            if line.sock is not None:  # http.client lets go of it when the reply said `Connection: close`
                line.sock.settimeout(self._left(deadline))
        return bytes(body)

    def _borrow(self, host: str) -> _Line | None:
        lines = self._idle.get(host, [])
        while True:
            try:
                line = lines.pop()  # last in, first out, and one step: threads never get the same one
            except IndexError:
                return None
            if line.is_quiet():
                return line
            line.close()

    def _open(self, host: str, deadline: float) -> _Line:
        address, _, port = (self._connect or host).partition(":")
        line = _Line(host, (address, int(port or HTTPS)), self._context, min(CONNECT_SECONDS, self._left(deadline)))
        line.connect()
        return line

    def _give_back(self, host: str, line: _Line, *, whole: bool) -> None:
        lines = self._idle.setdefault(host, [])
        if whole and len(lines) < KEPT:
            lines.append(line)
        else:
            line.close()

    def _left(self, deadline: float) -> float:
        return max(SHORTEST, deadline - self._clock())


class _Line(http.client.HTTPSConnection):
    """One connection to `address` that must prove to be `host`."""

    def __init__(self, host: str, address: tuple[str, int], context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(host, HTTPS, timeout=timeout, context=context)
        self._address = address
        self._trust = context

    def connect(self) -> None:
        """Dial and shake hands; no proxy, whatever the environment says."""
        raw = socket.create_connection(self._address, self.timeout)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = self._trust.wrap_socket(raw, server_hostname=self.host)
        except BaseException:
            raw.close()
            raise

    def is_quiet(self) -> bool:
        """Tell whether the other side has neither spoken nor hung up since the last reply."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)
