"""Knows how to keep TLS connections to STS open: a new handshake for each asker would cost more than all other checks.

A connection is borrowed, used for one request and given back when its reply was read whole. The name in SNI, in the
certificate and in the Host header is always STS's own, also when an egress of the site's is dialled in its place.
HTTP is h11's: it writes no header that could be two, and reads none that is not one.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import certifi
import h11

from hsm_verifier.evidence.names import Names
from hsm_verifier.refusal import Refusal
from hsm_verifier.settings import SettingsError, parse_listen
from hsm_verifier.tls_files import take_roots

CONNECT_SECONDS = 3.0
KEPT = 64  # idle connections a host; askers beyond that many open one for themselves
IDLE = 20.0  # seconds that one may lie unused: a firewall that forgets it tells nobody, and an asker would wait
MAX_BYTES = 64 * 1024  # of a reply's body
MAX_HEAD = 16 * 1024  # of everything before it, interim replies too
HTTPS = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class StsReply:
    """Status and body as they came."""

    status: int
    body: bytes


class StsLines:
    """Connections by host. `connect` ("host:port") is dialled in place of the host, "" the host itself."""

    def __init__(self, *, connect: str, ca_file: str) -> None:
        """Read the roots once: `ca_file`, or the public ones. Raises OSError, SettingsError."""
        self._place = parse_listen(connect, "aws.sts_connect") if connect else None
        self._names = Names()
        # Not create_default_context: without a file it reads SSL_CERT_FILE, and the environment has no say here.
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            take_roots(self._context, ca_file or certifi.where())
        except ssl.SSLError:
            raise SettingsError(f"aws.ca_file: {ca_file}: no certificate in it") from None
        self._idle: dict[str, list[_Line]] = {}

    async def post(self, host: str, headers: Mapping[str, str], body: bytes, *, fresh: bool) -> StsReply:
        """Send one request. `fresh` takes no connection that was used before.

        How long it may take is the caller's to say (asyncio.timeout). Raises OSError, ssl.SSLError and
        h11.RemoteProtocolError when the connection fails; Refusal when the reply is too long.
        """
        line = (None if fresh else self._borrow(host)) or await self._open(host)
        try:
            reply = await line.ask(headers, body)
        except BaseException:
            line.close()
            raise
        lines = self._idle.setdefault(host, [])
        if line.is_free and len(lines) < KEPT:
            line.used = asyncio.get_running_loop().time()
            lines.append(line)
        else:
            line.close()
        return reply

    def close(self) -> None:
        """Hang up, on the loop that the connections belong to."""
        for lines in self._idle.values():
            while lines:
                lines.pop().close()

    def _borrow(self, host: str) -> _Line | None:
        """Give the one used last, which is the least likely to have been closed."""
        lines = self._idle.get(host, [])
        now = asyncio.get_running_loop().time()
        while lines:
            line = lines.pop()
            if line.is_free and now - line.used <= IDLE:
                return line
            line.close()
        return None

    async def _open(self, host: str) -> _Line:
        """Dial and shake hands; no proxy, whatever the environment says."""
        async with asyncio.timeout(CONNECT_SECONDS):
            sock = await self._names.dial(self._place or (host, HTTPS), CONNECT_SECONDS)
            try:
                _, line = await asyncio.get_running_loop().create_connection(
                    _Line, sock=sock, ssl=self._context, server_hostname=host
                )
            except BaseException:
                sock.close()
                raise
        return line


class _Line(asyncio.Protocol):
    """One connection, for one exchange after the other."""

    def __init__(self) -> None:
        """Begin unconnected."""
        self._transport: asyncio.Transport | None = None
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._reply: asyncio.Future[StsReply] | None = None
        self._status, self._body, self._left = 0, bytearray(), 0
        self.used = 0.0  # when it was given back, by the loop's clock

    @property
    def is_free(self) -> bool:
        """Tell whether it may carry another exchange: STS has neither hung up nor said anything unasked."""
        return self._transport is not None and self._http.our_state is h11.IDLE

    @property
    def _is_asked(self) -> bool:
        return self._reply is not None and not self._reply.done()

    async def ask(self, headers: Mapping[str, str], body: bytes) -> StsReply:
        """Send one request and give its reply. Raises as `StsLines.post`."""
        if self._transport is None:
            raise ConnectionError("closed")
        lines = [*headers.items(), ("content-length", str(len(body)))]
        request = h11.Request(method="POST", target="/", headers=lines)
        events = (request, h11.Data(data=body), h11.EndOfMessage())
        sent = b"".join(self._http.send(event) or b"" for event in events)
        self._body.clear()
        self._left = MAX_HEAD + MAX_BYTES
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(sent)
        try:
            return await self._reply
        finally:
            self._reply = None

    def close(self) -> None:
        """Hang up without a goodbye, for which a peer that does not read could make us wait."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be connected, TLS included."""
        self._transport = transport  # type: ignore[assignment]  # with a socket it is a Transport

    def data_received(self, data: bytes) -> None:
        """Read on; what was not asked for ends the connection."""
        self._left -= len(data)
        if not self._is_asked:  # also when who asked was told and has not gone on yet
            self.close()
        elif self._left < 0:
            self._fail(Refusal("upstream_busy", "V8 sts_oversize", alarm=True))
        else:
            self._read(data)

    def eof_received(self) -> None:
        """Read the end: it may be the end of a reply without a length."""
        if self._is_asked:
            self._read(b"")
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        self._transport = None
        self._fail(exc or ConnectionError("closed"))

    def _read(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
            while (event := self._http.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    self._status = event.status_code
                elif isinstance(event, h11.Data):
                    self._body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    self._end()
                    return
                elif isinstance(event, h11.ConnectionClosed):
                    raise ConnectionError("closed")
        except (h11.RemoteProtocolError, OSError) as error:
            self._fail(error)

    def _end(self) -> None:
        if len(self._body) > MAX_BYTES:
            self._fail(Refusal("upstream_busy", "V8 sts_oversize", alarm=True))
        elif self._reply is not None and not self._reply.done():
            self._reply.set_result(StsReply(status=self._status, body=bytes(self._body)))
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE and not self._http.trailing_data[0]:
            self._http.start_next_cycle()  # else it is not free again, and whoever has it closes it

    def _fail(self, error: Exception) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)
