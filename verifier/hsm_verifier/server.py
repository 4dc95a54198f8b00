"""Knows how to serve over TLS: counts each connection before any cryptography and stops without dropping work.

uvicorn's HTTP protocol (httptools) on uvloop; the accept loop is ours, because V1 comes before the TLS handshake and
so does the PROXY protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from uvicorn.config import Config
from uvicorn.server import ServerState

from hsm_verifier.app import Turns, make_app
from hsm_verifier.limits import Sources, networks, within
from hsm_verifier.protocol import TimedProtocol
from hsm_verifier.proxy_protocol import BadProxyHeader, read_source
from hsm_verifier.service import Service
from hsm_verifier.settings import ServerSettings
from hsm_verifier.sockets import announce, notify, watchdog_pause
from hsm_verifier.tls_files import take_pair

LET_IN = 1.0  # seconds at the end for connections without a request yet
ACCEPT_PAUSE = 0.1  # seconds without accepting when this process is out of file descriptors
_log = logging.getLogger("hsm_verifier")


def tls_context(settings: ServerSettings) -> ssl.SSLContext:
    """Give TLS 1.2 or later with this party's certificate. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 0  # an instance asks once; nobody comes back to resume
    take_pair(context, settings.tls_certificate, settings.tls_key)
    return context


class Listener:
    """Takes connections from listening sockets until told to stop."""

    def __init__(self, service: Service, settings: ServerSettings, context: ssl.SSLContext) -> None:
        """Make the application and the caps; nothing is accepted yet."""
        self._settings = settings
        self._context = context
        self._sources = Sources(settings, time.monotonic)
        self._balancers = networks(settings.proxy_protocol_from)
        app = make_app(service, self._sources, Turns(settings.workers, settings.queue), settings)
        self._config = Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # uvicorn would believe X-Forwarded-For from 127.0.0.1; ours counts listed hops (V11)
            timeout_keep_alive=max(1, round(settings.keep_alive)),
        )
        self._config.load()
        self._state = ServerState()
        self._opening: set[asyncio.Task[None]] = set()

    async def accept(self, listener: socket.socket) -> None:
        """Accept until cancelled, which loses nobody: whoever was taken out of the queue is being let in already."""
        loop = asyncio.get_running_loop()
        while True:
            failed: asyncio.Future[OSError] = loop.create_future()
            loop.add_reader(listener, self._take, listener, failed)
            try:
                error = await failed
            finally:
                loop.remove_reader(listener)
            _log.warning("accept: %s", error.strerror)
            await asyncio.sleep(ACCEPT_PAUSE)

    def _take(self, listener: socket.socket, failed: asyncio.Future[OSError]) -> None:
        """Take one connection. V1: a source over its cap is closed before a byte is read."""
        try:
            sock, address = listener.accept()
        except BlockingIOError:  # the asker left the queue
            return
        except OSError as error:
            if not failed.done():
                failed.set_result(error)
            return
        client = (str(address[0]), int(address[1]))
        if not self._sources.connect(client[0]):
            sock.close()
            return
        sock.settimeout(0)
        task = asyncio.get_running_loop().create_task(self._open(sock, client))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, sock: socket.socket, client: tuple[str, int]) -> None:
        """Read the balancer's header if there is one, then shake hands; both within one time-out."""
        counted = [client[0]]
        lost = _Once(lambda: self._sources.disconnect(*counted))
        loop = asyncio.get_running_loop()
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(self._settings.handshake_timeout):
                if within(client[0], self._balancers) and (behind := await read_source(loop, sock)):
                    client = behind
                    if not self._sources.let_in(client[0]):  # V1 is by source, and before any cryptography
                        raise ConnectionRefusedError
                    counted.append(client[0])
                await loop.connect_accepted_socket(
                    lambda: TimedProtocol(
                        self._config,
                        self._state,
                        client=client,
                        header_timeout=self._settings.header_timeout,
                        body_timeout=self._settings.body_timeout,
                        on_lost=lost,
                    ),
                    sock,
                    ssl=self._context,
                )
        except (OSError, BadProxyHeader, TimeoutError) as error:
            _log.debug("connection from %s: %s", client[0], type(error).__name__)
            sock.close()
            lost()

    async def drain(self) -> None:
        """Let requests under way finish, up to `stop_timeout`; idle connections go at once."""
        # Who was let in but has not asked yet is still answered: nobody could tell why it was not.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LET_IN):
                while self._opening or self._has_silent():  # noqa: ASYNC110  a protocol has no event for it
                    await asyncio.sleep(0.01)
        for task in tuple(self._opening):
            task.cancel()
        for connection in tuple(self._state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.stop_timeout):
                while self._state.tasks:
                    await asyncio.wait(tuple(self._state.tasks))

    def _has_silent(self) -> bool:
        """Tell whether there is a connection on which nothing was asked yet."""
        return any(getattr(one, "cycle", None) is None for one in self._state.connections)


class _Once:
    """Calls something the first time only: a failed handshake may or may not have made a protocol."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    def __call__(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()


async def run(
    listener: Listener,
    sockets: tuple[socket.socket, ...],
    ready: Callable[[], Any],
    beside: Callable[[], Coroutine[Any, Any, None]] | None,
    at_end: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once connections are accepted; `beside` runs until then.

    `at_end` is called on the loop when the last request has ended.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    accepting = [loop.create_task(listener.accept(sock)) for sock in sockets]
    ready()
    if beside is not None:
        accepting.append(loop.create_task(_told_of(beside())))
    notify("READY=1")
    alive = loop.create_task(tell_alive(watchdog_pause()))
    await stop.wait()
    alive.cancel()
    notify("STOPPING=1")
    for task in accepting:
        task.cancel()
    await asyncio.wait(accepting)
    for sock in sockets:
        sock.close()
    await listener.drain()
    at_end()


async def _told_of(work: Coroutine[Any, Any, None]) -> None:
    """Do what is done beside serving; should it end in an exception, the journal says so."""
    try:
        await work
    except Exception:  # noqa: BLE001  whatever it was: those who enrol go on without it
        _log.exception("what was done beside serving has ended")


async def tell_alive(pause: float | None) -> None:
    """Tell systemd's watchdog for as long as this loop turns; nothing to do when there is none."""
    while pause is not None:
        await asyncio.sleep(pause)
        notify("WATCHDOG=1")


def serve(
    service: Service,
    settings: ServerSettings,
    context: ssl.SSLContext,
    sockets: tuple[socket.socket, ...],
    *,
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
    at_end: Callable[[], None] = lambda: None,
) -> None:
    """Serve on these sockets, saying where on stdout; returns after a graceful stop. `beside` and `at_end` as `run`."""
    listener = Listener(service, settings, context)

    def ready() -> None:
        for sock in sockets:
            host, port = sock.getsockname()[:2]
            announce(f"listening on https://{f'[{host}]' if ':' in host else host}:{port}")

    uvloop.run(run(listener, sockets, ready, beside, at_end))
