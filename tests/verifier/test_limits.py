"""V1 against the server as operators run it: what costs us nothing, what is bounded, and what ends in time."""

import asyncio
import contextlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from uvicorn.config import Config
from uvicorn.server import ServerState

from hsm_enrol.wire.messages import ASSERTION_TYPE
from hsm_verifier.limits import client_of, networks
from hsm_verifier.protocol import TimedProtocol
from tests.adversary.party import pause
from tests.adversary.site import Site
from tests.test_fuzz import memory
from tests.verifier.unix import fetch

HEAD = f"POST /v1/enrolments HTTP/1.1\r\nHost: x\r\nContent-Type: {ASSERTION_TYPE}\r\n".encode()
CHALLENGE = b"GET /v1/challenge HTTP/1.1\r\nHost: x\r\n\r\n"
Start = Callable[..., Site]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start one server with `[server]` settings changed."""
    started: list[Site] = []

    def begin(**server: str) -> Site:
        started.append(Site(tmp_path, server=server).start())
        return started[-1]

    yield begin
    for one in started:
        one.stop()


def connect(site: Site, *, tls: bool = True) -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", int(site.url.rpartition(":")[2])), timeout=20)
    if not tls:
        return raw
    context = ssl.create_default_context(cafile=str(site.folder / "verifier-ca.pem"))
    return context.wrap_socket(raw, server_hostname="127.0.0.1")


def read_all(sock: socket.socket) -> bytes:
    """Read until the other side ends it."""
    found = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while piece := sock.recv(65536):
            found += piece
    return found


def test_v1_a_source_that_comes_too_often_is_closed_before_any_cryptography(start: Start) -> None:
    site = start(requests_per_source="0.01", burst_per_source="3")
    for _ in range(6):  # two connections a request that it may make
        connect(site).close()
    with connect(site, tls=False) as bare:
        bare.sendall(b"\x16\x03\x01")  # the beginning of a hello: a server that waits for the rest says nothing yet
        began = time.monotonic()
        assert read_all(bare) == b""
        assert time.monotonic() - began < 3  # the handshake's own time-out is 5 s


def test_v1_one_connection_cannot_be_turned_away_without_end(start: Start) -> None:
    site = start(requests_per_source="0.01", burst_per_source="4")
    with connect(site) as asker:
        heard: list[int] = []
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while len(heard) < 100:
                asker.sendall(CHALLENGE)
                answer = asker.recv(65536)
                if not answer:
                    break
                heard.append(int(answer.split(b" ")[1]))
    assert heard == [200] * 4 + [429] * 5  # it stays for as many refusals as it may ask, and hears why it ends


def test_v1_requests_to_anywhere_count_and_nobody_is_sent_elsewhere(start: Start) -> None:
    site = start(requests_per_source="0.01", burst_per_source="4")
    party = site.party()
    asked = [("GET", "/v1/enrolments/"), ("POST", "/v1/challenge"), ("GET", "/nowhere"), ("PUT", "/v1/receipts")]
    replies = [party.ask(method, path, b"{}", patient=False) for method, path in asked]
    assert [(reply.status, reply.reason) for reply in replies] == [(404, "malformed")] * 4
    late = party.ask("GET", "/nowhere", patient=False)
    assert (late.status, late.reason) == (429, "busy")
    assert int(late.headers["retry-after"]) >= 1


def test_v1_there_is_a_cap_on_all_connections(start: Start) -> None:
    site = start(connections="5", connections_per_source="100")
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connect(site))
        assert read_all(stack.enter_context(connect(site, tls=False))) == b""
    for _ in range(100):  # until the server has noticed that they are gone
        with contextlib.suppress(requests.ConnectionError):
            assert site.party().challenge().nonce
            return
        pause(0.1)
    raise AssertionError("never again")


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(b"0\r\n" + b"X-Trailer: " + b"a" * 4000 + b"\r\n", id="trailers"),
        pytest.param(b"1;" + b"a" * 4000 + b"\r\nx\r\n", id="chunk extensions"),
    ],
)
def test_v1_a_message_without_end_is_cut_off_whatever_it_is_made_of(start: Start, endless: bytes) -> None:
    site = start(body_timeout="15.0")
    assert site.process is not None
    before, sent = memory(site.process.pid), 0
    tail = endless.removeprefix(b"0\r\n")
    with connect(site) as sock, contextlib.suppress(OSError):
        sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + endless)
        for _ in range(8000):  # 32 MB
            sock.sendall(tail)
            sent += len(tail)
    assert sent < 8 << 20
    assert memory(site.process.pid) - before < 16


def test_v1_requests_sent_ahead_are_not_kept(start: Start) -> None:
    site = start(wide_sources='["127.0.0.0/8"]', wide_factor="100000")
    assert site.process is not None
    before = memory(site.process.pid)
    with connect(site) as sock, contextlib.suppress(OSError):
        for _ in range(200):  # 8 MB that ask for 200,000 challenges
            sock.sendall(CHALLENGE * 1000)
        assert read_all(sock).count(b"HTTP/1.1 ") < 1000
    assert memory(site.process.pid) - before < 16
    assert site.party().challenge().nonce


def test_v1_an_asker_that_does_not_read_is_cut_off() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})

    async def talk() -> float:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)  # noqa: FBT003  the standard library's signature
        config = Config(app, http="httptools", lifespan="off", log_config=None)
        config.load()
        lost = asyncio.Event()
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(
            lambda: TimedProtocol(
                config,
                ServerState(),
                client=("127.0.0.1", 1),
                header_timeout=5,
                body_timeout=0.3,
                on_lost=lost.set,
            ),
            ours,
        )
        began = loop.time()
        with theirs:
            theirs.sendall(CHALLENGE)
            async with asyncio.timeout(20):
                await lost.wait()
        return loop.time() - began

    assert 0.3 <= asyncio.run(talk()) < 10


def test_a_running_server_counts_it_as_an_alarm_that_its_audit_was_cut_off(start: Start) -> None:
    site = start()

    def alarms() -> int:
        _, told = fetch(site.folder / "admin.sock", "/metrics")
        return int(re.findall(r"(?m)^hsm_verifier_audit_alarms_total ([0-9]+)$", told)[0])

    def ask() -> None:
        assert site.party().ask("POST", "/v1/enrolments", b"a.b.c", {"content-type": ASSERTION_TYPE}).status == 400

    ask()
    assert alarms() == 0
    path = site.folder / "audit.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    ask()
    assert alarms() == 1


@pytest.mark.parametrize(
    ("written", "source"),
    [
        ("203.0.113.9%" + "a" * 4000, "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:DB8:0::7%<b>", "2001:db8::7"),
        ("203.0.113.9:4711", "10.0.0.2"),
        ("", "10.0.0.2"),
        ("203.0.113.9, 10.0.0.3", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
    ],
)
def test_v11_a_forwarded_source_is_an_address_and_nothing_else(written: str, source: str) -> None:
    assert client_of("10.0.0.2", (written,), networks(("10.0.0.0/24",))) == source
