"""Knows how to be the simple server that the shell script asks: a nonce, the bundle as it is, a receipt; over TLS.

It checks nothing and seals nothing: whatever it saves is given to the shell.
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from lab import pki


class Classic(ThreadingHTTPServer):
    """The server; `told` counts receipts."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, bundle: dict[str, Any]) -> None:
        """Make a certificate in `folder` and listen on loopback."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bundle = json.dumps(bundle | {"serial": 1}).encode()
        self.told = 0
        authority = pki.authority("Authority of the classic server")
        pair = pki.server(authority, ["127.0.0.1"])
        self.ca_file = folder / "classic-ca.pem"
        self.ca_file.write_text(authority.certificate_pem)
        chain = folder / "classic.pem"
        chain.touch(0o600)
        chain.write_text(pair.key_pem + pair.certificate_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self.server_address[1])
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="classic", daemon=True)

    def __enter__(self) -> Self:
        """Serve inside a with block."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Classic
    protocol_version = "HTTP/1.1"
    timeout = 10
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Give a nonce."""
        self._send(json.dumps({"nonce": secrets.token_urlsafe(32)}).encode())

    def do_POST(self) -> None:
        """Take what comes; give the bundle for an enrolment."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        receipt = self.path.endswith("/receipts")
        self.server.told += receipt
        self._send(b"" if receipt else self.server.bundle)

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""
