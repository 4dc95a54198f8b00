"""Knows how to talk with a store by HTTPS: bounded in time and size, blind to the environment."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

from hsm_verifier.vault import VaultError

CONNECT_SECONDS = 3.0
READ_SECONDS = 5.0
TOTAL_SECONDS = 8.0
MAX_BYTES = 1024 * 1024  # a bundle has at most 96 KiB; a list of 50,000 serials fits
CONNECTIONS = 32
SOON = 5.0  # seconds: what ends by itself
# A peer that went away without a word is found out by the kernel, in 25 seconds of silence: each connection that was
# kept to it would otherwise cost whoever gets it all of READ_SECONDS.
_WATCHED = (
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
)


class _Watched(HTTPAdapter):
    """An adapter whose kept connections the kernel looks after."""

    def init_poolmanager(self, *words: Any, **options: Any) -> None:
        """Make the pools of connections."""
        super().init_poolmanager(*words, **options, socket_options=_WATCHED)


class BoundedSession(requests.Session):
    """A session whose answers are read whole, within size and time, before anyone looks at them."""

    def __init__(self, ca_file: str, clock: Callable[[], float]) -> None:
        """Trust `ca_file`, or the public roots."""
        super().__init__()
        self._clock = clock
        self.trust_env = False  # no proxy variables, no .netrc, no REQUESTS_CA_BUNDLE
        self.verify = ca_file or True
        self.headers["Accept-Encoding"] = "identity"
        self.mount("https://", _Watched(pool_maxsize=CONNECTIONS))

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Read at most MAX_BYTES within TOTAL_SECONDS. Raises VaultError, and what requests and urllib3 raise."""
        deadline = self._clock() + TOTAL_SECONDS
        with super().send(request, **(options | {"stream": True})) as response:
            body = bytearray()
            while chunk := response.raw.read1(65536):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise VaultError("OpenBao: an answer that is too large")
                if self._clock() >= deadline:
                    raise VaultError("OpenBao: no answer in time", again_in=SOON)
        response.raw = io.BytesIO(bytes(body))
        return response
