"""Knows the three addresses of the protocol: reads a bounded body, gives it a turn, sends the reply.

A plain ASGI application: three fixed paths need no framework, and a framework's layers were a tenth of an enrolment.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hsm_enrol.wire.messages import ASSERTION_TYPE, MAX_ASSERTION, RECEIPT_TYPE
from hsm_verifier.limits import Sources, client_of, networks
from hsm_verifier.refusal import Refusal
from hsm_verifier.room import PATIENCE, Room
from hsm_verifier.service import Reply, Service
from hsm_verifier.settings import ServerSettings
from hsm_verifier.turns import take_turn

MAX_RECEIPT = 8 * 1024

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]


class Gone(Exception):
    """The asker hung up before its request was whole; there is nobody to answer."""


class Turns:
    """So many turns at a time with a bounded queue: when it is full the asker hears so at once (V1)."""

    def __init__(self, count: int, queue: int) -> None:
        """Let `count` requests have their turns at a time and `queue` more wait."""
        self._seats = asyncio.Semaphore(count)
        self._room = Room(count, queue, time.monotonic)

    async def run(self, event: str, work: Callable[[bytes, str], Reply], body: bytes, source: str) -> Reply:
        """Give work's reply. Raises Refusal `busy` (503) when the queue is full, or as slow as an asker's patience."""
        self._room.enter(event)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._seats.acquire()
        except TimeoutError:
            self._room.give_up()
            raise self._room.later(event, "queue_slow") from None
        except asyncio.CancelledError:
            self._room.give_up()
            raise
        # The room is given back when the work ends, not when the asker loses patience: uvicorn lets a task end.
        try:
            return await take_turn(lambda: work(body, source))
        finally:
            self._seats.release()
            self._room.leave(event)


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request as ASGI hands it over: header names in small letters."""

    peer: str
    headers: tuple[tuple[bytes, bytes], ...]
    receive: Receive

    def all(self, name: bytes) -> Iterator[str]:
        """Give every value of a header, in their order."""
        return (value.decode("latin-1") for key, value in self.headers if key == name)

    def first(self, name: bytes, default: str) -> str:
        """Give a header's first value."""
        return next(self.all(name), default)


class Door:
    """Takes requests in: who asks, how often, how much."""

    def __init__(self, service: Service, sources: Sources, turns: Turns, settings: ServerSettings) -> None:
        """Read the hops whose X-Forwarded-For is believed."""
        self._service = service
        self._sources = sources
        self._turns = turns
        self._hops = networks(settings.forwarded_by)

    async def challenge(self, request: Incoming) -> Reply:
        """`GET /v1/challenge`."""
        source = self._source(request)
        wait = self._sources.wait_for(source)
        if wait:
            refusal = Refusal("busy", "V1 requests_per_source", retry_after=wait)
            return self._service.refuse("challenge", source, refusal, close=not self._sources.may_stay(source))
        return self._service.challenge()

    async def elsewhere(self, request: Incoming) -> Reply:
        """Any other address or method: counted like the rest, and told in the protocol's own words."""
        source = self._source(request)
        wait = self._sources.wait_for(source)
        refusal = Refusal("malformed", "V1 address", status=404)
        if wait:
            refusal = Refusal("busy", "V1 requests_per_source", retry_after=wait)
        return self._service.refuse("request", source, refusal)

    async def enrolments(self, request: Incoming) -> Reply:
        """`POST /v1/enrolments`."""
        return await self._post(request, "enrolment", ASSERTION_TYPE, MAX_ASSERTION, self._service.enrol)

    async def receipts(self, request: Incoming) -> Reply:
        """`POST /v1/receipts`."""
        return await self._post(request, "receipt", RECEIPT_TYPE, MAX_RECEIPT, self._service.receipt)

    async def _post(
        self, request: Incoming, event: str, kind: str, cap: int, work: Callable[[bytes, str], Reply]
    ) -> Reply:
        source = self._source(request)
        try:
            self._admit(request, source, kind)
            body = await read_body(request, cap)
            return await self._turns.run(event, work, body, source)
        except Refusal as refusal:
            return self._service.refuse(event, source, refusal)

    def _admit(self, request: Incoming, source: str, kind: str) -> None:
        """V1: what the headers alone tell."""
        wait = self._sources.wait_for(source)
        if wait:
            raise Refusal("busy", "V1 requests_per_source", retry_after=wait)
        if request.first(b"content-type", "").split(";")[0].strip().lower() != kind:
            raise Refusal("malformed", "V1 content_type")
        if request.first(b"content-encoding", "identity") != "identity":
            raise Refusal("malformed", "V1 content_encoding")

    def _source(self, request: Incoming) -> str:
        return client_of(request.peer, tuple(request.all(b"x-forwarded-for")), self._hops)


async def read_body(request: Incoming, cap: int) -> bytes:
    """Read at most `cap` bytes; more is `too_large`, before it is read when Content-Length says so. Raises Gone too."""
    length = request.first(b"content-length", "0")
    if not (length.isascii() and length.isdigit()) or int(length) > cap:
        raise Refusal("too_large", "V1 content_length")
    body = bytearray()
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise Gone
        body += message.get("body", b"")
        if len(body) > cap:
            raise Refusal("too_large", "V1 body")
        if not message.get("more_body", False):
            return bytes(body)


async def respond(reply: Reply, send: Send) -> None:
    """Turn a reply into HTTP: never cached, never transformed."""
    headers = [(b"cache-control", b"no-store"), (b"content-length", str(len(reply.body)).encode())]
    if reply.status == 204:  # noqa: PLR2004  No Content has no length (RFC 9110 section 8.6)
        headers.pop()
    if reply.retry_after is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(reply.retry_after))).encode()))
    if reply.close:
        headers.append((b"connection", b"close"))
    if reply.kind:
        headers.append((b"content-type", reply.kind.encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def make_app(service: Service, sources: Sources, turns: Turns, settings: ServerSettings) -> App:
    """Give the ASGI application."""
    door = Door(service, sources, turns, settings)
    routes = {
        "/v1/challenge": ("GET", door.challenge),
        "/v1/enrolments": ("POST", door.enrolments),
        "/v1/receipts": ("POST", door.receipts),
    }

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        method, work = routes.get(scope["path"], ("", door.elsewhere))
        if scope["method"] != method:
            work = door.elsewhere
        peer = scope["client"][0] if scope["client"] else ""
        try:
            reply = await work(Incoming(peer, tuple(scope["headers"]), receive))
        except Gone:
            return
        await respond(reply, send)

    return app
