"""Knows how to play a verifying party that misbehaves: real TLS on loopback, each message answered as told.

Without orders it behaves: a challenge, an answer that is none, 204 to a receipt. Orders
are lists of troubles, one a request; the last of a list stays. What answers wrongly in ways that any HTTP server can is
in lab/imds_troubles.py; here is what only a verifier, or somebody between us and it, can do. All of it is made up.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from lab.pki import Pair

ANSWER = b"not.an.answer"
_PATHS = {"/v1/challenge": "challenge", "/v1/enrolments": "enrolments", "/v1/receipts": "receipts"}


@dataclass(slots=True, kw_only=True)
class Orders:
    """What to do at each message, and before any: `handshake` is "", "silent", "drip", "reset" or "plain"."""

    challenge: list[Trouble] = field(default_factory=list)
    enrolments: list[Trouble] = field(default_factory=list)
    receipts: list[Trouble] = field(default_factory=list)
    handshake: str = ""
    ahead: float = 0.0  # seconds that this party's clock is ahead of ours


class BadParty(ThreadingHTTPServer):
    """A party on 127.0.0.1, in threads of this process, until `stop` or the end of the with block.

    `seen` has one entry a request: message, body. `connections` counts TCP connections.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, certificate: Pair, orders: Orders | None = None) -> None:
        """Bind at once; the certificate and its key are written into `folder`."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.orders = orders or Orders()
        self.seen: list[tuple[str, bytes]] = []
        self.connections = 0
        self.stopping = threading.Event()
        pem = folder / f"party-{secrets.token_hex(4)}.pem"
        pem.write_text(certificate.certificate_pem + certificate.key_pem)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pem)
        self.url = f"https://127.0.0.1:{self.server_address[1]}"
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="lab-bad-party", daemon=True)

    def stop(self) -> None:
        """End, hanging answers included; safe to call twice."""
        if not self.stopping.is_set():
            self.stopping.set()
            self.shutdown()
            self._thread.join()
            self.server_close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def messages(self) -> list[str]:
        """The names of the messages that came, in order."""
        return [name for name, _ in self.seen]

    def next_trouble(self, message: str, body: bytes) -> Trouble | None:
        """Note a request and give its trouble."""
        orders: list[Trouble] = getattr(self.orders, message)
        with self._lock:
            self.seen.append((message, body))
            return (orders.pop(0) if len(orders) > 1 else orders[0]) if orders else None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands, or do what is ordered instead; in the connection's own thread."""
        self.connections += 1
        play = self.orders.handshake
        if play == "silent":
            self.stopping.wait()
        elif play == "reset":
            reset(request)
        elif play == "plain":
            request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        elif play == "drip":
            request.sendall(b"\x16\x03\x03\x3f\x00")  # a handshake record of 16,128 bytes, which come one at a time
            while not self.stopping.wait(0.02):
                request.sendall(b"\x02")
        else:
            request.settimeout(10)
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are what this server is for."""


class Handler(BaseHTTPRequestHandler):
    """One connection's requests."""

    server: BadParty
    protocol_version = "HTTP/1.1"
    server_version = "lab"
    sys_version = ""
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer the challenge, as ordered."""
        self._play(b"")

    def do_POST(self) -> None:
        """Answer assertion or receipt, as ordered."""
        self._play(self.rfile.read(int(self.headers["Content-Length"])))

    def _play(self, body: bytes) -> None:
        message = _PATHS.get(self.path)
        if message is None:
            self.answer(HTTPStatus.NOT_FOUND, b"")
            return
        trouble = self.server.next_trouble(message, body)
        if trouble is not None:
            trouble(self)
        elif message == "challenge":
            self.answer(HTTPStatus.OK, self.challenge(), {"Content-Type": "application/json"})
        elif message == "enrolments":
            self.answer(HTTPStatus.OK, ANSWER, {"Content-Type": "application/jose"})
        else:
            self.begin(HTTPStatus.NO_CONTENT, {})

    def challenge(self) -> bytes:
        """Make a challenge with this party's time."""
        told = {
            "nonce": secrets.token_urlsafe(32),
            "expires_in": 300,
            "server_time": int(time.time() + self.server.orders.ahead),
            "evidence": ["identity-role"],
            "kems": ["p256"],
            "profiles": [],
        }
        return json.dumps(told).encode()

    def answer(self, status: HTTPStatus, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send one whole answer."""
        self.begin(status, {"Content-Type": "text/plain", "Content-Length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

    def begin(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        """Send status line and headers."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


Trouble = Callable[[Handler], None]


def reset(connection: socket.socket) -> None:
    """End a connection with RST: lingering for 0 s throws away what is unsent."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang_up(to: Handler) -> None:
    """Reset the connection instead of answering."""
    to.close_connection = True
    reset(to.connection)


def silent(to: Handler) -> None:
    """Never answer."""
    to.close_connection = True
    to.server.stopping.wait()


def behave(to: Handler) -> None:
    """Do as without orders."""
    if to.path == "/v1/challenge":
        to.answer(HTTPStatus.OK, to.challenge(), {"Content-Type": "application/json"})
    else:
        to.answer(HTTPStatus.OK, ANSWER, {"Content-Type": "application/jose"})


def page(status: int) -> Trouble:
    """Give a proxy's page."""
    body = b"<html><body>Access denied by policy</body></html>"
    return lambda to: to.answer(HTTPStatus(status), body, {"Content-Type": "text/html"})


def says(status: int, kind: str, body: bytes, **headers: str) -> Trouble:
    """Give any answer; headers' underscores become hyphens."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda to: to.answer(HTTPStatus(status), body, {"Content-Type": kind, **more})


def problem(reason: str, status: int, *, retry_after: str | None = None, **members: object) -> Trouble:
    """Refuse with a reason; `server_time` may be given as seconds ahead of now by `ahead`."""

    def play(to: Handler) -> None:
        told: dict[str, object] = {"reason": reason, "status": status, "decision": "d3c1510n", **members}
        ahead = told.pop("ahead", None)
        if isinstance(ahead, int | float):
            told["server_time"] = int(time.time() + ahead)
        headers = {"Content-Type": "application/problem+json"}
        if retry_after is not None:
            headers["Retry-After"] = retry_after
        to.answer(HTTPStatus(status), json.dumps(told).encode(), headers)

    return play
