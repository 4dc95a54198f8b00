"""The network between the two parties: passes messages on, loses them on either way, delivers them twice.

It ends TLS with the verifier's own certificate, so that an agent cannot tell it from the verifier; and it keeps every
answer that the verifier gave, also those that never arrived.
"""

import http.client
import ssl
import threading
from collections import defaultdict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from hsm_enrol.wire.assertion import verify_assertion

MODES = ("pass", "request lost", "answer lost", "twice")
KEPT = ("content-type", "retry-after", "cache-control")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One answer that the verifier gave: to whose key, for which instance, the bytes."""

    instance: str
    owner: str
    body: bytes


class Relay(ThreadingHTTPServer):
    """Listens on loopback. `plan` maps "enrolments" or "receipts" to modes, used up one a request, then "pass"."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, port: int) -> None:
        """`folder` is the verifier's, `port` where it listens."""
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.pem", folder / "secrets/tls.key")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self.server_address[1]}"
        self.trust = ssl.create_default_context(cafile=str(folder / "verifier-ca.pem"))
        self.verifier = port
        self.plan: dict[str, list[str]] = defaultdict(list)
        self.answered: list[Answered] = []
        self.bodies: list[bytes] = []
        self.lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: agents are killed in the middle of a message here."""

    def forward(self, method: str, path: str, body: bytes, kind: str) -> tuple[int, dict[str, str], bytes] | None:
        """Ask the verifier; None when it died over it."""
        line = http.client.HTTPSConnection("127.0.0.1", self.verifier, timeout=30, context=self.trust)
        try:
            line.request(method, path, body or None, {"Content-Type": kind} if kind else {})
            with line.getresponse() as reply:
                told = reply.status, {name: reply.headers[name] for name in KEPT if name in reply.headers}, reply.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            line.close()
        self._note(path, body, told[0], told[2])
        return told

    def _note(self, path: str, body: bytes, status: int, reply: bytes) -> None:
        if path == "/v1/enrolments" and status == http.client.OK:
            request = verify_assertion(body)
            with self.lock:
                self.answered.append(Answered(instance=request.sub, owner=request.cnf.thumbprint, body=reply))


class _Handler(BaseHTTPRequestHandler):
    server: Relay
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def log_message(self, *_: object) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        self._relay(b"")

    def do_POST(self) -> None:
        self._relay(self.rfile.read(int(self.headers["Content-Length"])))

    def _relay(self, body: bytes) -> None:
        relay, kind = self.server, self.headers.get("Content-Type", "")
        plan = relay.plan[self.path.rpartition("/")[2]]
        mode = plan.pop(0) if plan else "pass"
        if mode != "request lost":
            if self.path == "/v1/enrolments":
                relay.bodies.append(body)
            told = relay.forward(self.command, self.path, body, kind)
            if mode == "twice":
                told = relay.forward(self.command, self.path, body, kind)
            if told is not None and mode != "answer lost":
                self._answer(*told)
                return
        self.close_connection = True
        self.connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != http.client.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
