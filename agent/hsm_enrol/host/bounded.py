"""Knows how to talk plain HTTP with somebody who may never finish a sentence: every receive ends with one deadline.

The time-outs of requests count from byte to byte, so a peer that sends a byte a second, even in its headers, holds the
caller for hours. Here the socket itself asks before each receive how much of the exchange's time is left. Plain HTTP
only, which is all that IMDS speaks.
"""

from __future__ import annotations

import http.cookiejar
import socket
from typing import TYPE_CHECKING, Any

import requests
import requests.adapters
import urllib3.connection
import urllib3.connectionpool

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
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.headers.clear()
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": "hsm-enrol/1"})
    session.adapters.clear()
    session.mount("http://", _Adapter(turn))
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


class _Socket(socket.socket):
    """A connected socket that receives only while its turn lasts."""

    def __init__(self, plain: socket.socket, turn: Turn) -> None:
        super().__init__(fileno=plain.detach())
        self._turn = turn

    def recv_into(self, *args: Any) -> int:
        if self._turn.deadline.expired:
            raise TimeoutError
        self.settimeout(self._turn.deadline.timeout(self._turn.deadline.seconds))
        return super().recv_into(*args)
