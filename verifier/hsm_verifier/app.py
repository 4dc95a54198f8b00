"""Knows the three addresses of the protocol: reads a bounded body, hands it to a worker, sends the reply."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from hsm_enrol.wire.messages import ASSERTION_TYPE, MAX_ASSERTION, RECEIPT_TYPE
from hsm_verifier.limits import Sources, client_of, networks
from hsm_verifier.refusal import Refusal
from hsm_verifier.service import Reply, Service
from hsm_verifier.settings import ServerSettings

MAX_RECEIPT = 8 * 1024


class Workers:
    """A pool of threads with a bounded queue: when it is full the asker hears so at once (V1)."""

    def __init__(self, count: int, queue: int) -> None:
        """Run `count` requests at a time and let `queue` more wait."""
        self._pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix="decide")
        self._room = threading.Semaphore(count + queue)

    async def run(self, work: Callable[[bytes, str], Reply], body: bytes, source: str) -> Reply:
        """Give work's reply. Raises Refusal `busy` (503) when the queue is full."""
        if not self._room.acquire(blocking=False):
            raise Refusal("busy", "V1 queue_full", status=503)
        # The room is given back when the work ends, not when the asker loses patience.
        future = self._pool.submit(work, body, source)
        future.add_done_callback(lambda _done: self._room.release())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Wait for the work that was begun."""
        self._pool.shutdown(wait=True)


class Door:
    """Takes requests in: who asks, how often, how much."""

    def __init__(self, service: Service, sources: Sources, workers: Workers, settings: ServerSettings) -> None:
        """Read the hops whose X-Forwarded-For is believed."""
        self._service = service
        self._sources = sources
        self._workers = workers
        self._hops = networks(settings.forwarded_by)

    async def challenge(self, request: Request) -> Response:
        """`GET /v1/challenge`."""
        source = self._source(request)
        wait = self._sources.wait_for(source)
        if wait:
            refusal = Refusal("busy", "V1 requests_per_source", retry_after=wait)
            return respond(self._service.refuse("challenge", source, refusal))
        return respond(self._service.challenge())

    async def elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Any other address or method: counted like the rest, and told in the protocol's own words."""
        source = self._source(Request(scope))
        wait = self._sources.wait_for(source)
        refusal = Refusal("malformed", "V1 address", status=404)
        if wait:
            refusal = Refusal("busy", "V1 requests_per_source", retry_after=wait)
        await respond(self._service.refuse("request", source, refusal))(scope, receive, send)

    async def enrolments(self, request: Request) -> Response:
        """`POST /v1/enrolments`."""
        return await self._post(request, "enrolment", ASSERTION_TYPE, MAX_ASSERTION, self._service.enrol)

    async def receipts(self, request: Request) -> Response:
        """`POST /v1/receipts`."""
        return await self._post(request, "receipt", RECEIPT_TYPE, MAX_RECEIPT, self._service.receipt)

    async def _post(
        self, request: Request, event: str, kind: str, cap: int, work: Callable[[bytes, str], Reply]
    ) -> Response:
        source = self._source(request)
        try:
            self._admit(request, source, kind)
            body = await read_body(request, cap)
            return respond(await self._workers.run(work, body, source))
        except Refusal as refusal:
            return respond(self._service.refuse(event, source, refusal))
        except ClientDisconnect:
            return Response(status_code=400)

    def _admit(self, request: Request, source: str, kind: str) -> None:
        """V1: what the headers alone tell."""
        wait = self._sources.wait_for(source)
        if wait:
            raise Refusal("busy", "V1 requests_per_source", retry_after=wait)
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != kind:
            raise Refusal("malformed", "V1 content_type")
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Refusal("malformed", "V1 content_encoding")

    def _source(self, request: Request) -> str:
        peer = request.client.host if request.client else ""
        return client_of(peer, tuple(request.headers.getlist("x-forwarded-for")), self._hops)


async def read_body(request: Request, cap: int) -> bytes:
    """Read at most `cap` bytes; more is `too_large`, before it is read when Content-Length says so."""
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or int(length) > cap:
        raise Refusal("too_large", "V1 content_length")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > cap:
            raise Refusal("too_large", "V1 body")
    return bytes(body)


def respond(reply: Reply) -> Response:
    """Turn a reply into HTTP: never cached, never transformed."""
    headers = {"cache-control": "no-store"}
    if reply.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(reply.retry_after)))
    if reply.close:
        headers["connection"] = "close"
    if reply.kind:
        headers["content-type"] = reply.kind
    return Response(reply.body or None, status_code=reply.status, headers=headers)


def make_app(service: Service, sources: Sources, workers: Workers, settings: ServerSettings) -> Starlette:
    """Give the ASGI application."""
    door = Door(service, sources, workers, settings)
    return Starlette(
        routes=[
            Route("/v1/challenge", door.challenge, methods=["GET"]),
            Route("/v1/enrolments", door.enrolments, methods=["POST"]),
            Route("/v1/receipts", door.receipts, methods=["POST"]),
            Mount("", app=door.elsewhere),
        ]
    )
