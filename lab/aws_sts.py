"""Knows how to play AWS STS over TLS: it truly verifies Signature Version 4 against the credentials it minted.

Documented: the canonical request, the 5 to 15 minutes around the date, the shapes of GetCallerIdentity's answer and of
errors, the identity role's ARN. Made up: access keys, tokens, and that every host name of the region is answered here.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from lab import pki

WINDOW = 300  # seconds; AWS allows 5 to 15 minutes by path, the stand-in is strict


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """Credentials that AWS gave out, and who signs with them."""

    secret: str = field(repr=False)
    token: str = field(repr=False)
    arn: str
    account: str


@dataclass(slots=True, kw_only=True)
class StsFaults:
    """Switches that can be turned while it runs."""

    throttle: int = 0  # so many answers are 400 Throttling
    fail: int = 0  # so many answers are 500
    html: bool = False  # a proxy's page with 200
    redirect: str = ""  # 302 to here
    expired: bool = False  # every token is ExpiredToken
    oversize: bool = False  # a megabyte of JSON
    hang: bool = False  # nothing is ever said
    drip: str = ""  # "header" or "body": it comes by one byte each 50 ms and never ends
    hang_up: bool = False  # each answer is the last on its connection, without saying so


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What CloudTrail keeps of a call, by CloudTrail's names in other letters."""

    source: str
    name: str
    arn: str
    address: str
    agent: str


class Sts(ThreadingHTTPServer):
    """STS of one region, in threads. `connect` is "127.0.0.1:PORT"; `seen` counts answers by code."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, region: str, folder: Path, *, clock: float = 0.0) -> None:
        """Make an authority in `folder` and listen on loopback; `clock` shifts AWS's clock by seconds."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.region = region
        self.shift = clock
        self.faults = StsFaults()
        self.minted: dict[str, Minted] = {}
        self.seen: Counter[str] = Counter()
        self.bodies: list[bytes] = []
        self.events: list[Event] = []  # one a call that was answered
        self.connections = 0
        self.stopping = threading.Event()
        authority = pki.authority("Laboratory root for AWS hosts")
        suffixes = ("amazonaws.com", "amazonaws.com.cn", "amazonaws.eu")
        hosts = [f"{name}.{region}.{suffix}" for name in ("sts", "sts-fips") for suffix in suffixes]
        pair = pki.server(authority, hosts)
        self.ca_file = folder / "aws-ca.pem"
        self.ca_file.write_text(authority.certificate_pem)
        chain = folder / "sts.pem"
        chain.touch(0o600)
        chain.write_text(pair.key_pem + pair.certificate_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.connect = f"127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="lab-sts", daemon=True)

    def start(self) -> Self:
        """Serve from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End; safe to call twice."""
        if not self.stopping.is_set():
            self.stopping.set()
            self.shutdown()
            self._thread.join()
            self.server_close()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept, and count connections."""
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: broken handshakes are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    """One request: the shapes of AWS's answers, JSON when the Accept header asks for it."""

    server: Sts
    protocol_version = "HTTP/1.1"
    timeout = 10
    disable_nagle_algorithm = True  # headers and body are two writes: the second must not wait for an ACK

    def do_POST(self) -> None:
        """Verify, then say who signed."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        faults, sts = self.server.faults, self.server
        sts.bodies.append(body)
        if faults.hang:
            sts.stopping.wait(30)
        elif faults.drip:
            self._drip(faults.drip)
        elif faults.redirect:
            self._send(302, b"", "text/html", {"Location": faults.redirect})
        elif faults.html:
            self._send(200, b"<html>Sign in to the proxy</html>", "text/html")
        elif faults.oversize:
            self._send(200, b'{"a":"' + b"a" * (1 << 20) + b'"}', "application/json")
        elif faults.fail > 0:
            faults.fail -= 1
            self._error(500, "InternalFailure", "An internal error has occurred.")
        elif faults.throttle > 0:
            faults.throttle -= 1
            self._error(400, "Throttling", "Rate exceeded")
        else:
            self._identity(body)

    def _drip(self, where: str) -> None:
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n" + (b"\r\n" if where == "body" else b"X-Slow: ")
        )
        with suppress(OSError):
            while not self.server.stopping.wait(0.05):
                self.wfile.write(b"a")

    def _identity(self, body: bytes) -> None:
        authorization = self.headers.get("Authorization", "")
        parts = dict(
            part.strip().partition("=")[::2] for part in authorization.removeprefix("AWS4-HMAC-SHA256 ").split(",")
        )
        access_key, _, scope = parts.get("Credential", "").partition("/")
        date = self.headers.get("X-Amz-Date", "")
        minted = self.server.minted.get(access_key)
        host = self.headers.get("Host", "")
        region = host.split(".")[1] if host.count(".") > 1 else ""
        if minted is None or self.headers.get("X-Amz-Security-Token") != minted.token:
            self._error(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        elif self.server.faults.expired:
            self._error(403, "ExpiredToken", "The security token included in the request is expired")
        elif scope != f"{date[:8]}/{region}/sts/aws4_request":
            self._error(403, "SignatureDoesNotMatch", "Credential should be scoped to a valid region.")
        elif not self._date_is_near(date):
            self._error(403, "SignatureDoesNotMatch", f"Signature expired: {date} is now earlier than the window")
        elif not hmac.compare_digest(self._signature(parts, minted, scope, date, body), parts.get("Signature", "")):
            self._error(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided.",
            )
        elif body != b"Action=GetCallerIdentity&Version=2011-06-15":
            self._error(400, "InvalidAction", "Could not find operation")
        else:
            result = {
                "Account": minted.account,
                "Arn": minted.arn,
                "UserId": f"AROALAB:{minted.arn.rpartition('/')[2]}",
            }
            answer = {
                "GetCallerIdentityResponse": {
                    "GetCallerIdentityResult": result,
                    "ResponseMetadata": {"RequestId": "01234567-89ab-cdef-0123-456789abcdef"},
                }
            }
            self.server.seen["ok"] += 1
            self.server.events.append(self._event(minted.arn, body))
            self._send(200, json.dumps(answer).encode(), "application/json")

    def _event(self, arn: str, body: bytes) -> Event:
        name = body.decode().removeprefix("Action=").partition("&")[0]
        source = "sts." + self.headers.get("Host", "").partition(".")[2].partition(".")[2]
        agent = self.headers.get("User-Agent", "")
        return Event(source=source, name=name, arn=arn, address=self.client_address[0], agent=agent)

    def _signature(self, parts: dict[str, str], minted: Minted, scope: str, date: str, body: bytes) -> str:
        names = parts.get("SignedHeaders", "").split(";")
        lines = [self.command, self.path, ""]
        lines += [f"{name}:{' '.join(self.headers.get(name, '').split())}" for name in names]
        lines += ["", ";".join(names), hashlib.sha256(body).hexdigest()]
        must = {"host", "x-amz-date", "x-amz-security-token"}
        if names != sorted(names) or not must <= set(names):
            return "unsigned"
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        key = ("AWS4" + minted.secret).encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.new(key, f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}".encode(), hashlib.sha256).hexdigest()

    def _date_is_near(self, date: str) -> bool:
        try:
            moment = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            return False
        return abs(time.time() + self.server.shift - moment) <= WINDOW

    def _error(self, status: int, code: str, message: str) -> None:
        self.server.seen[code] += 1
        body = {"Error": {"Code": code, "Message": message, "Type": "Sender"}, "RequestId": "0"}
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)
        if self.server.faults.hang_up:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Be quiet: what was answered is counted in `seen`."""
