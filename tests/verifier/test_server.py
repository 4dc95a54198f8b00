"""The real server process over real TLS: the round trip, and V1's limits on sockets."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from hsm_enrol.wire.answer import open_answer, verify_answer
from hsm_enrol.wire.assertion import sign_assertion
from hsm_enrol.wire.messages import ANSWER_TYPE, ASSERTION_TYPE, PROBLEM_TYPE, RECEIPT_TYPE, Challenge, Problem
from hsm_verifier.chain import verify
from hsm_verifier.proxy_protocol import SIGNATURE
from hsm_verifier.server import tell_alive
from tests.verifier.party import make_bundle
from tests.verifier.served import SERVER, Served, serving
from tests.verifier.visitor import Visitor

Start = Callable[..., Served]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers with `[server]` settings changed; all are stopped at the end."""
    with contextlib.ExitStack() as running:
        count = itertools.count()
        yield lambda **changes: running.enter_context(serving(tmp_path / f"vp{next(count)}", **changes))


def gone(connection: socket.socket) -> bool:
    """Wait until the other side has closed or reset the connection."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while connection.recv(4096):
            pass
    return True


def problem(response: requests.Response) -> Problem:
    assert response.headers["content-type"] == PROBLEM_TYPE
    assert response.headers["cache-control"] == "no-store"
    return Problem.from_bytes(response.content)


def test_an_enrolment_from_challenge_to_receipt_over_tls(start: Start) -> None:
    served = start()
    serial = served.publish()
    visitor = Visitor.of(served)
    request = visitor.request()
    reply = visitor.post(sign_assertion(request, visitor.key))
    assert (reply.status_code, reply.headers["content-type"]) == (200, ANSWER_TYPE)
    assert reply.headers["cache-control"] == "no-store"
    answer = verify_answer(reply.content, [visitor.answer_key()])
    bundle = open_answer(answer, request, visitor.seal)
    assert bundle == replace(make_bundle(), serial=serial)
    done = visitor.post(visitor.receipt(serial, answer.nonce), "receipts", RECEIPT_TYPE)
    assert (done.status_code, done.content) == (204, b"")
    again = problem(visitor.post(sign_assertion(visitor.request(), visitor.key)))
    assert (again.reason, again.status) == ("already_enrolled", 410)
    assert again.decision is not None
    assert served.stop() == 0
    log = (served.folder / "audit.jsonl").read_text()
    assert again.decision in log
    assert verify(served.folder / "audit.jsonl").n == len(log.splitlines())


def test_a_reply_is_one_tls_record(start: Start) -> None:
    served = start()
    context = ssl.create_default_context(cafile=served.ca_file)
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(heard, said, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as raw:

        def until(step: Callable[[], object]) -> bytes:
            """Repeat a step until it works; gives what came from the server meanwhile."""
            came = b""
            while True:
                try:
                    step()
                except ssl.SSLWantReadError:
                    raw.sendall(said.read())
                    came += (piece := raw.recv(65536))
                    heard.write(piece)
                else:
                    raw.sendall(said.read())
                    return came

        until(tls.do_handshake)
        tls.write(b"GET /v1/challenge HTTP/1.1\r\nhost: x\r\n\r\n")
        got: list[bytes] = []
        record = until(lambda: got.append(tls.read(65536)))
    assert len(record) == 5 + int.from_bytes(record[3:5], "big")  # RFC 8446 section 5.1
    assert got[0].startswith(b"HTTP/1.1 200 OK\r\n")
    Challenge.from_bytes(got[0].partition(b"\r\n\r\n")[2])


def test_what_is_too_large_is_refused_by_its_length_alone(start: Start) -> None:
    served = start()
    with served.connect() as sock:
        sock.sendall(
            b"POST /v1/enrolments HTTP/1.1\r\nHost: x\r\nContent-Type: application/eat+jwt\r\n"
            b"Content-Length: 99999999\r\n\r\n"
        )
        head = sock.recv(4096)
        assert head.startswith(b"HTTP/1.1 413 ")
        assert gone(sock)
    reply = Visitor.of(served).post(b"x" * (32 * 1024 + 1))
    assert (reply.status_code, problem(reply).reason) == (413, "too_large")


def test_a_chunked_body_is_cut_off_at_the_cap(start: Start) -> None:
    served = start()
    pieces = iter([b"x" * 16384] * 3)
    reply = served.session().post(
        f"{served.url}/v1/enrolments", data=pieces, headers={"content-type": ASSERTION_TYPE}, timeout=10
    )
    assert (reply.status_code, problem(reply).reason) == (413, "too_large")


@pytest.mark.parametrize(
    ("path", "kind", "more"),
    [
        ("enrolments", "application/json", {}),
        ("receipts", ASSERTION_TYPE, {}),
        ("enrolments", ASSERTION_TYPE, {"content-encoding": "gzip"}),
    ],
)
def test_another_media_type_or_encoding_is_malformed(start: Start, path: str, kind: str, more: dict[str, str]) -> None:
    served = start()
    headers = {"content-type": kind} | more
    reply = served.session().post(f"{served.url}/v1/{path}", data=b"a.b.c", headers=headers, timeout=10)
    assert (reply.status_code, problem(reply).reason) == (400, "malformed")


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"GET /v1/chall",
        b"POST /v1/enrolments HTTP/1.1\r\nContent-Type: application/eat+jwt\r\nContent-Length: 9\r\n\r\nab",
    ],
    ids=["silent", "slow headers", "slow body"],
)
def test_v1_slow_askers_are_cut_off(start: Start, first: bytes) -> None:
    served = start(header_timeout=0.3, body_timeout=0.3)
    began = time.monotonic()
    with served.connect() as sock:
        sock.sendall(first)
        assert gone(sock)
    assert time.monotonic() - began < 5


def test_v1_a_drip_of_header_bytes_does_not_prolong_the_time(start: Start) -> None:
    served = start(header_timeout=0.5)
    began = time.monotonic()
    with served.connect() as sock, contextlib.suppress(OSError):
        sock.settimeout(0.05)
        while time.monotonic() - began < 10:
            sock.sendall(b"a")
            with contextlib.suppress(TimeoutError):
                if not sock.recv(10):
                    break
    assert time.monotonic() - began < 5


def test_v1_endless_headers_are_cut_off(start: Start) -> None:
    served = start()
    with served.connect() as sock, contextlib.suppress(OSError):
        sock.sendall(b"GET /v1/challenge HTTP/1.1\r\n" + b"X-A: " + b"a" * 40000)
        assert gone(sock)


def test_v1_a_handshake_that_never_comes_is_cut_off(start: Start) -> None:
    served = start(handshake_timeout=0.3)
    with served.connect(tls=False) as sock:
        assert gone(sock)


def test_v1_one_source_cannot_hold_all_connections(start: Start) -> None:
    served = start(connections_per_source=3, handshake_timeout=30)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(served.connect())
        refused = stack.enter_context(served.connect(tls=False))
        assert gone(refused)
    wait_for(lambda: served.session().get(f"{served.url}/v1/challenge", timeout=5).status_code == 200)


def test_v1_one_source_cannot_ask_without_end(start: Start) -> None:
    served = start(requests_per_source=0.5, burst_per_source=3)
    session = served.session()
    replies = [session.get(f"{served.url}/v1/challenge", timeout=10) for _ in range(5)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429]
    assert problem(replies[-1]).reason == "busy"
    assert 1 <= int(replies[-1].headers["retry-after"]) <= 2


def test_v1_a_full_queue_is_busy_at_once(start: Start) -> None:
    served = start(workers=1, queue=1)
    served.publish()
    (served.folder / "slow").touch()
    visitors = [Visitor.of(served) for _ in range(3)]
    bodies = [sign_assertion(visitor.request(), visitor.key) for visitor in visitors]
    replies: list[requests.Response] = []
    threads = [
        threading.Thread(target=lambda one=visitor, body=body: replies.append(one.post(body)))
        for visitor, body in zip(visitors, bodies, strict=True)
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(replies) == 1)
    (busy,) = replies
    assert (busy.status_code, problem(busy).reason) == (503, "busy")
    assert int(busy.headers["retry-after"]) >= 1
    (served.folder / "go").touch()
    for thread in threads:
        thread.join()
    assert sorted(reply.status_code for reply in replies) == [200, 409, 503]


def test_sigterm_lets_the_request_under_way_finish(start: Start) -> None:
    served = start()
    served.publish()
    (served.folder / "slow").touch()
    visitor = Visitor.of(served)
    body = sign_assertion(visitor.request(), visitor.key)
    replies: list[int] = []
    thread = threading.Thread(target=lambda: replies.append(visitor.post(body).status_code))
    thread.start()
    wait_for((served.folder / "asked").exists)
    served.process.send_signal(signal.SIGTERM)
    wait_for(lambda: refuses_connections(served))
    (served.folder / "go").touch()
    thread.join()
    assert replies == [200]
    assert served.process.wait(10) == 0


def test_tls_before_1_2_is_refused(start: Start) -> None:
    served = start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", served.port), timeout=10) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(raw)


def test_forwarded_for_counts_from_listed_hops_only(start: Start) -> None:
    headers = {"x-forwarded-for": "198.51.100.9, 203.0.113.5"}
    for hops, source in ((None, "127.0.0.1"), ('["127.0.0.0/8"]', "203.0.113.5")):
        served = start(**({"forwarded_by": hops} if hops else {}))
        visitor = Visitor.of(served)
        visitor.session.headers.update(headers)
        visitor.post(b"a.b.c")
        assert f'"source":"{source}"' in (served.folder / "audit.jsonl").read_text()


def from_behind(served: Served, source: str) -> socket.socket:
    """A connection that a balancer carries for `source`."""
    block = socket.inet_aton(source) + socket.inet_aton("192.0.2.1") + struct.pack(">HH", 4242, 443)
    return served.connect(first=SIGNATURE + b"\x21\x11" + struct.pack(">H", len(block)) + block)


def test_proxy_protocol_names_the_source_before_tls(start: Start) -> None:
    served = start(proxy_protocol_from='["127.0.0.1/32"]')
    with from_behind(served, "203.0.113.5") as sock:
        sock.sendall(
            b"POST /v1/enrolments HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Type: application/eat+jwt\r\nContent-Length: 5\r\n\r\na.b.c"
        )
        assert sock.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert gone(sock)
    assert '"source":"203.0.113.5"' in (served.folder / "audit.jsonl").read_text()
    with served.connect(tls=False, first=b"\x16\x03\x01" + b"\x00" * 40) as bare:
        assert gone(bare)


@pytest.mark.parametrize(
    ("caps", "again"),
    [({"connections_per_source": "3"}, True), ({"requests_per_source": "0.01", "burst_per_source": "2"}, False)],
)
def test_v1_each_source_behind_a_balancer_has_its_own_caps_on_connections(
    start: Start, *, caps: dict[str, str], again: bool
) -> None:
    behind = {"proxy_protocol_from": '["127.0.0.1/32"]', "wide_sources": '["127.0.0.1/32"]'}
    served = start(**behind, **caps, keep_alive="60.0", header_timeout="60.0")
    with contextlib.ExitStack() as held:
        let_in = 0
        with contextlib.suppress(OSError):
            while let_in < 12:
                held.enter_context(from_behind(served, "203.0.113.7"))
                let_in += 1
        assert let_in == (3 if again else 4)
        with from_behind(served, "203.0.113.8") as other:
            other.sendall(b"GET /v1/challenge HTTP/1.1\r\nhost: x\r\n\r\n")
            assert other.recv(64).startswith(b"HTTP/1.1 200 OK")
    if again:
        for _ in range(100):  # until the server has noticed that they are gone
            with contextlib.suppress(OSError), from_behind(served, "203.0.113.7"):
                return
            time.sleep(0.05)
        raise AssertionError("never again")


def test_socket_activation_readiness_and_signs_of_life(start: Start, tmp_path: Path) -> None:
    served = start()
    served.stop()
    assert served.process.stdout is not None
    served.process.stdout.close()
    listener = socket.create_server(("127.0.0.1", 0))
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(20)
    starter = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1');"
        "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
    )
    command = [sys.executable, "-c", starter, str(listener.fileno()), str(SERVER), str(served.folder)]
    environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
    with listener, told:
        process = subprocess.Popen(
            command,
            pass_fds=[listener.fileno()],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        served.process, served.port = process, listener.getsockname()[1]
        try:
            assert told.recv(100) == b"READY=1"
            assert [told.recv(100), told.recv(100)] == [b"WATCHDOG=1"] * 2
            assert served.session().get(f"{served.url}/v1/challenge", timeout=10).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert b"STOPPING=1" in iter(lambda: told.recv(100), b"")
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def test_a_sign_of_life_that_nobody_heard_is_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))  # which is not there yet

    async def hear() -> bytes:
        telling = asyncio.create_task(tell_alive(0.0))
        for _ in range(20):
            await asyncio.sleep(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(str(tmp_path / "notify"))
            told.settimeout(0)
            async with asyncio.timeout(10):
                heard = await asyncio.get_running_loop().sock_recv(told, 100)
        telling.cancel()
        return heard

    assert asyncio.run(hear()) == b"WATCHDOG=1"


def refuses_connections(served: Served) -> bool:
    try:
        served.connect(tls=False).close()
    except ConnectionError:
        return True
    return False


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most 20 seconds."""
    tick = threading.Event()
    for _ in range(1000):
        with contextlib.suppress(requests.RequestException):
            if condition():
                return
        tick.wait(0.02)
    raise AssertionError("it never came about")
