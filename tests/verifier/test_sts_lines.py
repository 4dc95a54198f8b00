"""Connections to STS at the wire: replies as a server may write them, and as none should."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import h11
import pytest

from hsm_verifier.evidence import sts_lines
from hsm_verifier.evidence.sts_lines import MAX_BYTES, StsLines, StsReply
from hsm_verifier.refusal import Refusal
from lab import pki

T = TypeVar("T")
HOST = "sts.eu-central-1.amazonaws.com"
HEADERS = {"host": HOST, "content-type": "application/x-www-form-urlencoded"}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Scripted:
    """A TLS server that answers each request with the next of some bytes; b"" at the end of one hangs up."""

    def __init__(self, *replies: bytes | tuple[bytes, bytes]) -> None:
        self._replies = list(replies)
        self.connections = self._forgotten = 0
        self.asked: list[bytes] = []

    def forget(self) -> None:
        """Answer nothing any more on the connections that there are, without hanging up."""
        self._forgotten = self.connections

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while self._replies:
                head = await reader.readuntil(b"\r\n\r\n")
                if number <= self._forgotten:
                    await reader.read()
                    break
                self.asked.append(head + await reader.readexactly(4))
                reply = self._replies.pop(0)
                said, then = reply if isinstance(reply, tuple) else (reply, b"more")
                writer.write(said)
                await writer.drain()
                if then == b"":
                    break
            else:
                await reader.read()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


@pytest.fixture
def against(tmp_path: Path) -> Callable[[Scripted, Callable[[StsLines], Coroutine[None, None, T]]], T]:
    """Runs work against a scripted server, then hangs up."""
    authority = pki.authority("root for this test")
    pair = pki.server(authority, (HOST,))
    (tmp_path / "ca.pem").write_text(authority.certificate_pem)
    (tmp_path / "server.pem").write_text(pair.certificate_pem + pair.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")

    def run(server: Scripted, work: Callable[[StsLines], Coroutine[None, None, T]]) -> T:
        async def both() -> T:
            listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
            port = listening.sockets[0].getsockname()[1]
            lines = StsLines(connect=f"127.0.0.1:{port}", ca_file=str(tmp_path / "ca.pem"))
            try:
                async with asyncio.timeout(20):
                    return await work(lines)
            finally:
                lines.close()
                listening.close()
                await listening.wait_closed()

        return asyncio.run(both())

    return run


Against = Callable[[Scripted, Callable[[StsLines], Coroutine[None, None, object]]], object]


async def twice(lines: StsLines) -> tuple[StsReply, StsReply]:
    one = await lines.post(HOST, HEADERS, b"body", fresh=False)
    await asyncio.sleep(0.05)  # what was said unasked has come by then
    return one, await lines.post(HOST, HEADERS, b"body", fresh=False)


def test_a_request_is_what_was_signed_and_the_connection_is_used_again(against: Against) -> None:
    server = Scripted(OK, b"HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert against(server, twice) == (StsReply(status=200, body=b"{}"), StsReply(status=403, body=b"abc"))
    assert server.connections == 1
    lines = server.asked[0].split(b"\r\n")
    assert lines[0] == b"POST / HTTP/1.1"
    names = sorted(line.partition(b":")[0].lower() for line in lines[1:-2])
    assert names == [b"content-length", b"content-type", b"host"]
    assert lines[-1] == b"body"


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
        (b"HTTP/1.1 200 OK\r\n\r\n{}", b""),  # its length is where it ends
        (OK, b""),
        OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged",
        (OK + b"x", b""),  # both in one read: the loop must not look for the end of what it will not read
    ],
    ids=["told to close", "without a length", "hung up", "said more than was asked", "said more and hung up"],
)
def test_a_connection_that_is_over_is_not_used_again(first: bytes | tuple[bytes, bytes], against: Against) -> None:
    server = Scripted(first, OK)
    assert against(server, twice) == (StsReply(status=200, body=b"{}"),) * 2
    assert server.connections == 2


def test_interim_replies_are_not_the_reply(against: Against) -> None:
    server = Scripted(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK, OK)
    assert against(server, twice) == (StsReply(status=200, body=b"{}"),) * 2
    assert server.connections == 1


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n" + b"x" * 70000, Refusal),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_BYTES * 2), Refusal),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5000, Refusal),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 40000, h11.RemoteProtocolError),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", h11.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", h11.RemoteProtocolError),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{}", b""), h11.RemoteProtocolError),
        ((b"", b""), h11.RemoteProtocolError),
    ],
    ids=["long", "endless", "interim for ever", "long head", "no HTTP", "two lengths", "broke off", "hung up"],
)
def test_what_is_no_reply_is_an_error_and_ends_the_connection(
    reply: bytes | tuple[bytes, bytes], error: type[Exception], against: Against
) -> None:
    server = Scripted(reply, OK)

    async def work(lines: StsLines) -> StsReply:
        with pytest.raises(error):
            await lines.post(HOST, HEADERS, b"body", fresh=False)
        return await lines.post(HOST, HEADERS, b"body", fresh=False)

    assert against(server, work) == StsReply(status=200, body=b"{}")
    assert server.connections == 2


def test_many_at_once_have_a_connection_each_and_the_next_share_them(against: Against) -> None:
    server = Scripted(*[OK] * 12)

    async def work(lines: StsLines) -> None:
        for _ in range(2):
            await asyncio.gather(*(lines.post(HOST, HEADERS, b"body", fresh=False) for _ in range(6)))

    against(server, work)
    assert server.connections == 6


def test_connections_that_lay_too_long_are_not_tried_one_after_the_other(
    against: Against, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall that forgot them drops what is sent and says nothing: each would cost an asker all of its time."""
    server = Scripted(*[OK] * 6)

    async def work(lines: StsLines) -> int:
        await asyncio.gather(*(lines.post(HOST, HEADERS, b"body", fresh=False) for _ in range(4)))
        await lines.post(HOST, HEADERS, b"body", fresh=False)
        kept = server.connections
        monkeypatch.setattr(sts_lines, "IDLE", 0.02)
        await asyncio.sleep(0.1)
        server.forget()
        async with asyncio.timeout(1):
            await lines.post(HOST, HEADERS, b"body", fresh=False)
        return kept

    assert against(server, work) == 4
    assert server.connections == 5


def test_an_exchange_that_was_given_up_leaves_no_connection_for_the_next(against: Against) -> None:
    server = Scripted(b"HTTP/1.1 200 OK\r\n", OK)

    async def work(lines: StsLines) -> StsReply:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await lines.post(HOST, HEADERS, b"body", fresh=False)
        return await lines.post(HOST, HEADERS, b"body", fresh=False)

    assert against(server, work) == StsReply(status=200, body=b"{}")
    assert server.connections == 2
