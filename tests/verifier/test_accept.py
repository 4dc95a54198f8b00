"""Who has been accepted is let in, whatever happens to the loop that accepts in the same moment."""

import asyncio
import http.client
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import uvloop

from hsm_verifier.server import Listener, tls_context
from hsm_verifier.service import Reply, Service
from hsm_verifier.settings import ServerSettings
from hsm_verifier.tls import make_tls


class Hello:
    """Stands in for the service."""

    def challenge(self) -> Reply:
        return Reply(status=200, kind="text/plain", body=b"hello")


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    made = make_tls(("127.0.0.1",), time.time())
    (tmp_path / "tls.pem").write_bytes(made.certificate)
    (tmp_path / "tls.key").write_bytes(made.key)
    (tmp_path / "ca.pem").write_bytes(made.ca)
    return ServerSettings(tls_certificate=str(tmp_path / "tls.pem"), tls_key=str(tmp_path / "tls.key"))


def fetch(visitor: socket.socket, ca: Path) -> bytes:
    """Ask on a connection that is there already."""
    asking = http.client.HTTPSConnection("127.0.0.1")
    asking.sock = ssl.create_default_context(cafile=ca).wrap_socket(visitor, server_hostname="127.0.0.1")
    asking.request("GET", "/v1/challenge", headers={"Connection": "close"})
    return asking.getresponse().read()


@pytest.fixture
def play(settings: ServerSettings) -> Callable[..., None]:
    """Run a scenario beside a listener that accepts: it gets the listener, its task and its address."""

    async def run(scenario: Callable[..., asyncio.Future[None]]) -> None:
        listener = Listener(cast("Service", Hello()), settings, tls_context(settings))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(0)
            task = asyncio.ensure_future(listener.accept(listening))
            await asyncio.sleep(0.05)
            try:
                await scenario(listener, task, listening.getsockname())
            finally:
                task.cancel()
                await asyncio.wait([task])

    return lambda scenario: uvloop.run(run(scenario))


def test_who_is_accepted_in_the_moment_of_the_stop_is_still_answered(play: Callable[..., None], tmp_path: Path) -> None:
    async def scenario(listener: Listener, task: asyncio.Task[None], address: tuple[str, int]) -> None:
        # Both happen before the loop looks at its sockets again, the stop comes to the task first.
        visitor = socket.create_connection(address, timeout=10)
        asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.wait([task])
        asked = asyncio.create_task(asyncio.to_thread(fetch, visitor, tmp_path / "ca.pem"))
        await listener.drain()
        assert await asked == b"hello"

    play(scenario)


def test_an_accept_that_fails_is_tried_again(
    play: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept = socket.socket.accept
    failed: list[socket.socket] = []

    def fails_twice(sock: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
        if len(failed) < 2:
            failed.append(sock)
            raise OSError(24, "Too many open files")
        return accept(sock)

    async def scenario(_listener: Listener, _task: asyncio.Task[None], address: tuple[str, int]) -> None:
        monkeypatch.setattr(socket.socket, "accept", fails_twice)
        visitor = await asyncio.to_thread(socket.create_connection, address, 10)
        assert await asyncio.to_thread(fetch, visitor, tmp_path / "ca.pem") == b"hello"

    play(scenario)
    assert [record.getMessage() for record in caplog.records] == ["accept: Too many open files"] * 2
