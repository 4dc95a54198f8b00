"""Knows how to play the EC2 instance metadata service on loopback, version 2 only, with every trouble seen in it.

Documented (EC2 guide, "Use the Instance Metadata Service"): PUT for a token with a TTL of 1 to 21,600 s, the token on
each GET, 400 for a bad TTL, 403 for a forwarded PUT or a service switched off, 401 for a missing or expired token, 404
with a page. Seen, not documented: `Connection: close` on each answer, and the wording of the pages.
"""

from __future__ import annotations

import base64
import collections
import secrets
import socket
import struct
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

from lab.imds_faults import Faults
from lab.imds_troubles import TROUBLES
from lab.machine import Machine, RoleCredentials, document_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Faults", "ImdsServer", "Machine", "RoleCredentials", "document_of"]

TOKEN_PATH = "/latest/api/token"
LONGEST_TTL = 21600
PAGE = """<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
\t"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>{code} - {phrase}</title>
 </head>
 <body>
  <h1>{code} - {phrase}</h1>
 </body>
</html>
"""


class ImdsServer(ThreadingHTTPServer):
    """The service of one machine, in threads of this process, until `stop` or the end of the with block.

    `machine` and `faults` may be replaced while it runs. `seen` counts requests by "METHOD item", `connections` counts
    TCP connections.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        machine: Machine | None = None,
        faults: Faults | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        keep_alive: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind at once; `host` may be `::1`."""
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        self.machine = machine or Machine()
        self.faults = faults or Faults()
        self.keep_alive = keep_alive
        self.clock = clock
        self.seen: collections.Counter[str] = collections.Counter()
        self.connections = 0
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._tokens: dict[str, list[float]] = {}  # token -> [end, uses left]
        shown = f"[{host}]" if ":" in host else host
        self.endpoint = f"http://{shown}:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="lab-imds", daemon=True)

    def start(self) -> Self:
        """Serve from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End, hanging answers included; safe to call twice."""
        if not self.stopping.is_set():
            self.stopping.set()
            if self._thread.is_alive():
                self.shutdown()
                self._thread.join()
            self.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Count the connection, then go on as the library does."""
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that hang up are what this server is for."""

    def make_token(self, ttl: int) -> str:
        """Give a new token that lives `ttl` seconds."""
        token = base64.b64encode(secrets.token_bytes(42)).decode()
        uses = float("inf") if self.faults.token_uses is None else self.faults.token_uses
        with self._lock:
            self._tokens[token] = [self.clock() + ttl, uses]
        return token

    def use_token(self, token: str | None) -> bool:
        """Tell whether a GET with this token may be answered."""
        with self._lock:
            life = self._tokens.get(token or "")
            if life is None or life[0] <= self.clock() or life[1] <= 0:
                return False
            life[1] -= 1
            return True

    def expire_tokens(self) -> None:
        """Forget every token, as a service that was restarted."""
        with self._lock:
            self._tokens.clear()


class _Handler(BaseHTTPRequestHandler):
    server: ImdsServer
    protocol_version = "HTTP/1.1"
    server_version = "EC2ws"
    sys_version = ""
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_PUT(self) -> None:
        if self.path != TOKEN_PATH:
            self._note(f"PUT {self.path}")
            self.page(HTTPStatus.METHOD_NOT_ALLOWED)
        elif not self._trouble("PUT", "token"):
            ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            if self.headers.get("X-Forwarded-For") is not None:
                self.page(HTTPStatus.FORBIDDEN)
            elif not (ttl.isascii() and ttl.isdigit() and len(ttl) <= 5 and 1 <= int(ttl) <= LONGEST_TTL):
                self.page(HTTPStatus.BAD_REQUEST)
            else:
                value = self.server.faults.values.get("token", self.server.make_token(int(ttl)).encode())
                self.answer(HTTPStatus.OK, value, {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": ttl})

    def do_GET(self) -> None:
        item = self.path.removeprefix("/latest/").removeprefix("/")
        if self._trouble("GET", item, before_token=True):
            return
        if not self.server.use_token(self.headers.get("X-aws-ec2-metadata-token")):
            self.page(HTTPStatus.UNAUTHORIZED)
        elif not self._trouble("GET", item, before_token=False):
            body = None if item in self.server.faults.missing else self._body(item)
            if body is None:
                self.page(HTTPStatus.NOT_FOUND)
            else:
                self.answer(HTTPStatus.OK, body)

    def _note(self, what: str) -> None:
        self.server.seen[what] += 1

    def _trouble(self, method: str, item: str, *, before_token: bool = True) -> bool:
        """Play what the switches ask for; tell whether the request is thereby done with."""
        faults = self.server.faults
        if not before_token:
            odd = faults.odd.get(item)
            if odd is not None:
                TROUBLES[odd](self)
            return odd is not None
        self._note(f"{method} {item}")
        if faults.silent or (faults.token_timeout and item == "token"):
            self.close_connection = True
            self.server.stopping.wait()
            return True
        passing = faults.spend(item)
        if passing == "reset":
            self.reset()
        elif passing == "throttle":
            asked = {"Retry-After": faults.retry_after} if faults.retry_after is not None else {}
            self.page(HTTPStatus.SERVICE_UNAVAILABLE, asked)
        elif faults.off:
            self.page(HTTPStatus.FORBIDDEN)
        elif item in faults.status:
            self.page(HTTPStatus(faults.status[item]))
        elif item == "token" and "token" in faults.odd:
            TROUBLES[faults.odd["token"]](self)
        else:
            return False
        return True

    def _body(self, item: str) -> bytes | None:
        """Give an item's value, or a folder's listing as the real service makes it, or None."""
        items = {**self.server.machine.items(), **self.server.faults.values}
        if item in items:
            return items[item]
        folder = item if not item or item.endswith("/") else item + "/"
        below = {name.removeprefix(folder) for name in items if name.startswith(folder)}
        listing = sorted({name.split("/")[0] + ("/" if "/" in name else "") for name in below})
        return "\n".join(listing).encode() if listing else None

    def page(self, status: HTTPStatus, headers: dict[str, str] | None = None) -> None:
        """Answer with the service's page for a status that is not 200."""
        body = PAGE.format(code=status.value, phrase=status.phrase).encode()
        self.answer(status, body, {"Content-Type": "text/html", **(headers or {})})

    def answer(self, status: HTTPStatus, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send one whole answer."""
        self.begin(status, {"Content-Type": "text/plain", "Content-Length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

    def begin(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        """Send status line and headers; the connection ends afterwards unless the server keeps it alive."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if not self.server.keep_alive:
            self.send_header("Connection", "close")
        self.end_headers()

    def reset(self) -> None:
        """End the connection with RST: lingering for 0 s throws away what is unsent."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
