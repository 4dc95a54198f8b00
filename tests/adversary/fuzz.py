"""Requests that no honest asker sends: random, truncated, oversize, deeply nested, and HTTP that is none.

Each kind gives bytes to write on a connection, and says whether a reply must come back before the next is written.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hsm_enrol.wire import jws
from hsm_enrol.wire.messages import ASSERTION_TYPE, RECEIPT_TYPE
from hsm_enrol.wire.strict import b64u_encode
from tests.adversary.party import Subject

WHERE = (("enrolments", ASSERTION_TYPE), ("receipts", RECEIPT_TYPE))
NUMBERS = (0, -1, 1.5, 1e308, 2**53, 2**64, 10**400, True, None)
TEXTS = ("", "\0", "\ud800", "a" * 9000, "\u202e", "{}", "é" * 300, "../../x", "i-0123456789abcdef0\n", "%00", "'; --")
METHODS = (b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI", b"get", b"GET\0", b"HEAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """Bytes for one connection; `whole` when they are one HTTP request that has to be answered."""

    data: bytes
    whole: bool
    tls: bool = True


@dataclass(slots=True)
class Fuzzer:
    """Makes shots from one seed, out of a good assertion and a good receipt payload."""

    seed: int
    subject: Subject
    good: bytes
    rng: random.Random = field(init=False)
    payload: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.payload = json.loads(self.subject.request().to_payload())

    def shot(self) -> Shot:
        """Give the next one: mostly messages, now and then broken HTTP or broken TLS."""
        kinds: tuple[Callable[[], Shot], ...] = (
            self.noise,
            self.truncated,
            self.flipped,
            self.signed_nonsense,
            self.nested,
            self.parts,
            self.oversize,
            self.elsewhere,
            self.broken_http,
            self.broken_tls,
        )
        return self.rng.choices(kinds, (14, 14, 14, 22, 10, 10, 3, 8, 4, 1))[0]()

    # --- messages

    def noise(self) -> Shot:
        return self.posted(self.rng.randbytes(self.rng.choice((0, 1, 7, 64, 500, 4000, 32000))))

    def truncated(self) -> Shot:
        return self.posted(self.good[: self.rng.randrange(len(self.good))])

    def flipped(self) -> Shot:
        body = bytearray(self.good)
        for _ in range(self.rng.choice((1, 1, 2, 30))):
            body[self.rng.randrange(len(body))] ^= 1 << self.rng.randrange(8)
        return self.posted(bytes(body))

    def signed_nonsense(self) -> Shot:
        """Well signed, and the JSON inside changed somewhere."""
        found = json.loads(json.dumps(self.payload))
        for _ in range(self.rng.choice((1, 1, 3))):
            at = found
            while True:
                name = self.rng.choice(list(at)) if isinstance(at, dict) else self.rng.randrange(len(at))
                if not isinstance(at[name], dict | list) or not at[name] or self.rng.random() < 0.3:
                    break
                at = at[name]
            at[name] = self.rng.choice((*NUMBERS, *TEXTS, [], {}, [[]], {"a": 1}))
        text = json.dumps(found).encode()
        header = self.rng.choice((jws.ASSERTION_HEADER, jws.ASSERTION_HEADER, jws.RECEIPT_HEADER))
        return self.posted(self.subject.sign_payload(text, header))

    def nested(self) -> Shot:
        """Brackets without end, open or closed, in an unsigned and in a signed message."""
        depth = self.rng.choice((9, 60, 1000, 8000))
        opened, closed = self.rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")))
        text = opened * depth + self.rng.choice((b"1" + closed * depth, b"", b'"'))
        text = text[:23000]
        if self.rng.random() < 0.3:
            return self.posted(text)
        return self.posted(self.subject.sign_payload(text))

    def parts(self) -> Shot:
        """Three parts that are base64url of anything."""
        header = self.rng.choice((jws.ASSERTION_HEADER, b"{}", self.rng.randbytes(20)))
        size = self.rng.choice((0, 3, 64, 3000))
        return self.posted(
            ".".join(b64u_encode(one) for one in (header, self.rng.randbytes(size), self.rng.randbytes(64))).encode()
        )

    def oversize(self) -> Shot:
        """Too much, told beforehand or not."""
        path, kind = self.rng.choice(WHERE)
        body = b"x" * 40_000
        if self.rng.random() < 0.5:
            chunked = (
                b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in (body[:20_000], body[20_000:])) + b"0\r\n\r\n"
            )
            return Shot(data=head("POST", f"/v1/{path}", kind, "Transfer-Encoding: chunked") + chunked, whole=True)
        length = self.rng.choice((len(body), 10**8, 2**63 - 1))
        return Shot(
            data=head("POST", f"/v1/{path}", kind, f"Content-Length: {length}") + body[: min(length, 100)], whole=True
        )

    def elsewhere(self) -> Shot:
        """Other paths, methods and media types."""
        kind = self.rng.choice((ASSERTION_TYPE, "text/html", "", "é", "application/eat+jwt;" + "a=b;" * 50))
        path = self.rng.choice(
            (
                "/",
                "/v1",
                "/v1/challenge",
                "/v1/enrolments/",
                "/v1/../etc/passwd",
                "/%00",
                "/" + "a" * 3000,
                "/v1/challenge?" + "x=1&" * 300,
            )
        )
        method = self.rng.choice(("GET", "POST", "PUT", "OPTIONS"))
        more = self.rng.choice(("Expect: 100-continue", "X-Forwarded-For: 1.2.3.4", "Content-Encoding: gzip", "X: y"))
        body = b"" if method == "GET" else b"{}"
        return Shot(data=head(method, path, kind, f"Content-Length: {len(body)}", more) + body, whole=True)

    def posted(self, body: bytes) -> Shot:
        path, kind = self.rng.choice(WHERE)
        return Shot(data=head("POST", f"/v1/{path}", kind, f"Content-Length: {len(body)}") + body, whole=True)

    # --- what is no HTTP, and no TLS

    def broken_http(self) -> Shot:
        rng = self.rng
        line = b"POST /v1/enrolments HTTP/1.1\r\nHost: x\r\nContent-Type: application/eat+jwt\r\n"
        return Shot(
            data=rng.choice(
                (
                    rng.randbytes(rng.choice((1, 50, 5000))) + b"\r\n\r\n",
                    rng.choice(METHODS) + b" /v1/challenge HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"GET /v1/challenge HTTP/%d.%d\r\n\r\n" % (rng.randrange(12), rng.randrange(12)),
                    b"GET " + rng.randbytes(40) + b" HTTP/1.1\r\n\r\n",
                    line + b"Content-Length: -1\r\n\r\n",
                    line + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                    line + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                    line + b"Content-Length: " + b"9" * 6000 + b"\r\n\r\n",
                    line + b"Transfer-Encoding: chunked\r\n\r\n" + rng.randbytes(30) + b"\r\n",
                    line + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
                    line + b"X" * 20_000 + b": y\r\n\r\n",
                    line + b"X: " + b"\0" * 10 + b"\r\n\r\n",
                    line + b"".join(b"H%d: v\r\n" % one for one in range(900)) + b"\r\n",
                    b"GET /v1/challenge HTTP/1.1\r\nHost: x\r\n\r\n" * 30,
                    line + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                )
            ),
            whole=False,
        )

    def broken_tls(self) -> Shot:
        first = self.rng.choice(
            (b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"GET / HTTP/1.1\r\n\r\n", b"")
        )
        return Shot(data=first + self.rng.randbytes(self.rng.choice((0, 10, 600))), whole=False, tls=False)


def head(method: str, path: str, kind: str, *more: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", *more, "", ""]
    return "\r\n".join(lines).encode()
