"""Knows how to keep TLS connections to STS open: a new handshake for each asker would cost more than all other checks.

A connection is borrowed, used for one request and given back when its reply was read whole. The name in SNI, in the
certificate and in the Host header is always STS's own, also when an egress of the site's is dialled in its place.

An exchange has one deadline: name, connection, handshake, each record sent and each received ask how much is left.
http.client knows time-outs from byte to byte only, so a reply that drips in its headers would hold a worker for hours.
"""

from __future__ import annotations

import errno
import http.client
import select
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import certifi

from hsm_verifier.evidence.dial import Dialler
from hsm_verifier.refusal import Refusal

CONNECT_SECONDS = 3.0
KEPT = 64  # idle connections a host; workers beyond that many open one for themselves
MAX_BYTES = 64 * 1024
HTTPS = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class StsReply:
    """Status and body as they came."""

    status: int
    body: bytes


@dataclass(slots=True)
class _Turn:
    """The deadline of the exchange that is under way on a connection."""

    clock: Callable[[], float]
    ends: float

    def left(self, most: float = float("inf")) -> float:
        """Give how many seconds are left, `most` at most. Raises TimeoutError when there are none."""
        seconds = self.ends - self.clock()
        if seconds <= 0:
            raise TimeoutError
        return min(seconds, most)


class StsLines:
    """Connections by host. `connect` ("host:port") is dialled in place of the host, "" the host itself."""

    def __init__(self, *, connect: str, ca_file: str, clock: Callable[[], float]) -> None:
        """Read the roots once: `ca_file`, or the public ones. Raises OSError, ssl.SSLError."""
        self._connect = connect
        self._clock = clock
        self._dialler = Dialler()
        # Not create_default_context: without a file it reads SSL_CERT_FILE, and the environment has no say here.
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.sslsocket_class = _Socket
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.load_verify_locations(ca_file or certifi.where())
        self._idle: dict[str, list[_Line]] = {}

    def post(self, host: str, headers: Mapping[str, str], body: bytes, deadline: float, *, fresh: bool) -> StsReply:
        """Send one request; `deadline` by the clock. `fresh` takes no connection that was used before.

        Raises OSError (TimeoutError at the deadline), ssl.SSLError and http.client.HTTPException when the connection
        fails; Refusal when the reply is too long.
        """
        line = (None if fresh else self._borrow(host)) or self._open(host)
        line.turn.ends = deadline
        try:
            line.request("POST", "/", body=body, headers=dict(headers))
            with line.getresponse() as response:
                reply = StsReply(status=response.status, body=self._read(response))
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

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        body = bytearray()
        while piece := response.read1(8192):
            body += piece
            if len(body) > MAX_BYTES:
                raise Refusal("upstream_busy", "V8 sts_oversize", alarm=True)
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

    def _open(self, host: str) -> _Line:
        address, _, port = (self._connect or host).partition(":")
        return _Line(host, (address, int(port or HTTPS)), self._context, self._dialler, _Turn(self._clock, 0.0))

    def _give_back(self, host: str, line: _Line, *, whole: bool) -> None:
        lines = self._idle.setdefault(host, [])
        if whole and len(lines) < KEPT:
            lines.append(line)
        else:
            line.close()


class _Line(http.client.HTTPSConnection):
    """One connection to `address` that must prove to be `host`; http.client has it connect when it is first used."""

    def __init__(
        self, host: str, address: tuple[str, int], context: ssl.SSLContext, dialler: Dialler, turn: _Turn
    ) -> None:
        super().__init__(host, HTTPS, context=context)
        self._address = address
        self._trust = context
        self._dialler = dialler
        self.turn = turn

    def connect(self) -> None:
        """Dial and shake hands; no proxy, whatever the environment says."""
        dialling = _Turn(self.turn.clock, self.turn.clock() + self.turn.left(CONNECT_SECONDS))
        raw = self._dialler.dial(self._address, dialling.left)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.settimeout(self.turn.left(CONNECT_SECONDS))  # for the whole handshake
            secured = self._trust.wrap_socket(raw, server_hostname=self.host)
        except BaseException:
            raw.close()
            raise
        secured.turn = self.turn  # type: ignore[attr-defined]  # the context makes _Socket
        self.sock = secured

    def is_quiet(self) -> bool:
        """Tell whether the other side has neither spoken nor hung up since the last reply."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)


class _Socket(ssl.SSLSocket):
    """A TLS socket that sends and receives only while its turn lasts."""

    turn: _Turn

    def send(self, *args: Any) -> int:
        """Give it what is left of the turn; `sendall` comes here for each piece."""
        self.settimeout(self.turn.left())
        return super().send(*args)

    def recv(self, *args: Any) -> bytes:
        """Close what STS reset before the handshake: a new SSLSocket looks for stray bytes with this, and leaves it."""
        try:
            return super().recv(*args)
        except OSError as error:
            if error.errno not in {errno.ENOTCONN, errno.EINVAL}:
                self.close()
            raise

    def recv_into(self, *args: Any) -> int:
        """Give it what is left of the turn; every line of a header is read by this."""
        self.settimeout(self.turn.left())
        return super().recv_into(*args)
