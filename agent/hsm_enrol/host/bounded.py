"""Knows how to talk HTTP with somebody who may never finish a sentence: every receive ends with one deadline.

The time-outs of requests count from byte to byte, so a peer that sends a byte a second, even in its headers, holds the
caller for hours. Here the socket itself asks before each receive how much of the exchange's time is left. Plain HTTP
is for IMDS; with TLS the same is asked for the handshake and each record, because OpenSSL's own reads and writes below
one call share that call's time-out.
"""

from __future__ import annotations

import http.cookiejar
import socket
import ssl
from typing import TYPE_CHECKING, Any

from hsm_enrol.host.dial import dial
from hsm_enrol.host.plain_requests import requests, urllib3
from hsm_enrol.host.tls_socket import TlsSocket

if TYPE_CHECKING:
    from hsm_enrol.host.retry import Deadline


class Turn:
    """The deadline of the exchange that is under way; one exchange at a time."""

    def __init__(self, deadline: Deadline) -> None:
        """Begin with the deadline of everything."""
        self.deadline = deadline


def bounded_session(turn: Turn) -> requests.Session:
    """Give a session that obeys `turn`, speaks `http:` only, and knows no environment, proxy, .netrc or cookie.

    P7: a proxy variable would send the question to the proxy's own metadata service, and we would take its identity.
    """
    return _session("http://", _Adapter(turn))


def bounded_tls_session(turn: Turn, context: ssl.SSLContext, proxy: str = "") -> requests.Session:
    """Give a session that obeys `turn` and speaks `https:` only, by `context` alone; nothing of the environment.

    `proxy` is an `http:` address (or empty): it is asked for a tunnel and sees no more than host and port.
    """
    session = _session("https://", _TlsAdapter(turn, bounded_context(turn, context)))
    session.proxies = {"https": proxy} if proxy else {}
    return session


def ask(
    session: requests.Session,
    method: str,
    url: str,
    *,
    headers: dict[str, str],
    timeout: float | tuple[float, float],
    body: bytes | None = None,
) -> requests.Response:
    """Send one request and give the beginning of its answer; no redirect is followed.

    The request is made without the session, which has nothing to add but its headers and takes long to find that out.
    """
    bare = requests.Request(method, url, headers={**session.headers, **headers}, data=body)
    return session.send(bare.prepare(), timeout=timeout, allow_redirects=False, stream=True)


def read_at_most(raw: urllib3.BaseHTTPResponse, most: int) -> bytes:
    """Read at most one byte more than the cap; until the end, because only there urllib3 notices a body cut short."""
    body = b""
    while len(body) <= most and (piece := raw.read(most + 1 - len(body), decode_content=False)):
        body += piece
    return body


def bounded_context(turn: Turn, context: ssl.SSLContext) -> ssl.SSLContext:
    """Make the sockets of `context` obey `turn`, and give it back."""

    class Socket(TlsSocket):
        """A TLS socket that shakes hands, sends and receives only while its turn lasts."""

        def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  ssl.SSLSocket's own signature
            _begin(self, turn)
            super().do_handshake(block)

        def send(self, *args: Any) -> int:
            _begin(self, turn)
            return super().send(*args)

        def recv_into(self, *args: Any) -> int:
            _begin(self, turn)
            return super().recv_into(*args)

    context.sslsocket_class = Socket
    return context


def _session(scheme: str, adapter: requests.adapters.HTTPAdapter) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.headers.clear()
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": "hsm-enrol/1"})
    session.adapters.clear()
    session.mount(scheme, adapter)
    return session


class _Adapter(requests.adapters.HTTPAdapter):
    """Hands the turn down to each connection; repeats nothing by itself."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        turn = self._turn

        class Connection(urllib3.connection.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                self.sock = _Socket(self.sock, turn)

        class Pool(urllib3.connectionpool.HTTPConnectionPool):
            ConnectionCls = Connection

        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": Pool}


class _TlsAdapter(requests.adapters.HTTPAdapter):
    """The same with TLS: one context decides whom to trust, with or without a proxy."""

    def __init__(self, turn: Turn, context: ssl.SSLContext) -> None:
        class Connection(urllib3.connection.HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                """Dial as urllib3 does, by one deadline; the socket bounds a proxy's answer too, TLS comes on top."""
                seconds = turn.deadline.timeout(turn.deadline.seconds if self.timeout is None else self.timeout)
                try:
                    plain = dial(self._dns_host, self.port, seconds, self.socket_options or ())
                except socket.gaierror as error:
                    raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
                except TimeoutError as error:
                    raise urllib3.exceptions.ConnectTimeoutError(self, "no connection in time") from error
                except OSError as error:
                    raise urllib3.exceptions.NewConnectionError(self, "no connection") from error
                return _Socket(plain, turn)

        class Pool(urllib3.connectionpool.HTTPSConnectionPool):
            ConnectionCls = Connection

        self._pools = {"https": Pool}
        self._context = context
        super().__init__(pool_connections=4, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs, ssl_context=self._context)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Add nothing: requests would have its bundle of public authorities trusted beside the context's own."""


def _begin(sock: socket.socket, turn: Turn) -> None:
    """Give one operation what is left of the turn."""
    if turn.deadline.expired:
        raise TimeoutError
    sock.settimeout(turn.deadline.timeout(turn.deadline.seconds))


class _Socket(socket.socket):
    """A connected socket that receives only while its turn lasts."""

    def __init__(self, plain: socket.socket, turn: Turn) -> None:
        super().__init__(fileno=plain.detach())
        self._turn = turn

    def recv_into(self, *args: Any) -> int:
        _begin(self, self._turn)
        return super().recv_into(*args)
