"""Knows how to serve the operators' page beside the protocol, on its own socket, and tells who is at the other end."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from uvicorn.config import Config
from uvicorn.server import ServerState

from hsm_verifier.admin.peers import uid_of_peer
from hsm_verifier.limits import source_name
from hsm_verifier.protocol import TimedProtocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from hsm_verifier.admin.place import Place

CONNECTIONS = 64  # at once; browsers open six
EACH = 16  # of one source beyond this machine, so that a stranger who holds what it gets keeps nobody out
HANDSHAKE = 5.0  # seconds, as for headers
BODY = 10.0
KEEP_ALIVE = 30  # seconds a browser may think before its next click
ACCEPT_PAUSE = 0.1
_log = logging.getLogger("hsm_verifier")


class Listener:
    """Takes operators' connections until it is cancelled."""

    def __init__(self, app: ASGIApp, place: Place, ready: Callable[[str], None]) -> None:
        """Open the socket at once, so that a place that is taken stops the start. `ready` is told the address."""
        self._place = place
        self._ready = ready
        self._context: ssl.SSLContext | None = place.context()
        self._socket = place.open()
        self._socket.settimeout(0)
        self._config = Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
        )
        self._config.load()
        self._state = ServerState()
        self._open: Counter[str] = Counter()  # by source, "" for this machine

    @property
    def address(self) -> str:
        """Give where it listens, as one would type it."""
        if self._place.path is not None:
            return f"unix:{self._place.path}"
        host, port = self._socket.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._place.tls else 'http'}://{shown}:{port}/"

    async def run(self) -> None:
        """Accept until cancelled; then close everything, for nobody's enrolment depends on it."""
        loop = asyncio.get_running_loop()
        self._ready(self.address)
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                try:
                    sock, address = await loop.sock_accept(self._socket)
                except OSError as error:
                    _log.warning("admin accept: %s", error.strerror)
                    await asyncio.sleep(ACCEPT_PAUSE)
                    continue
                source = "" if self._place.local else source_name(address[0])
                if self._open.total() >= CONNECTIONS or (source and self._open[source] >= EACH):
                    sock.close()
                    continue
                self._open[source] += 1
                task = loop.create_task(self._take(sock, source))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        finally:
            self._socket.close()
            if self._place.path is not None:
                self._place.path.unlink(missing_ok=True)
            for connection in tuple(self._state.connections):
                connection.shutdown()

    async def _take(self, sock: socket.socket, source: str) -> None:
        loop = asyncio.get_running_loop()
        gone = False

        def lost() -> None:
            nonlocal gone
            self._open -= Counter() if gone else Counter([source])  # which forgets a source that has none left
            gone = True

        try:
            sock.setblocking(False)  # noqa: FBT003  socket's own signature
            uid = await loop.run_in_executor(None, uid_of_peer, sock) if self._place.local else None

            def make() -> TimedProtocol:
                made = TimedProtocol(
                    self._config,
                    self._state,
                    client=("", 0),
                    header_timeout=HANDSHAKE,
                    body_timeout=BODY,
                    on_lost=lost,
                )
                made.app_state = {"uid": uid}  # ASGI's per-connection state, request.state
                return made

            async with asyncio.timeout(HANDSHAKE):
                await loop.connect_accepted_socket(make, sock, ssl=self._context)
        except (OSError, TimeoutError) as error:
            _log.debug("admin connection: %s", type(error).__name__)
            sock.close()
            lost()
