"""Connections are opened in a time that counts the name, too."""

import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hsm_enrol.host import peer
from hsm_enrol.host.dial import dial, look_up
from lab import pki
from tests.host.look_ups import let_go, under_way

Found = list[tuple[object, ...]]


@pytest.fixture
def server() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Found]], None]:
    """Put a function in the C library's place."""

    def put(answer: Callable[[], Found]) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer())

    return put


def found(server: socket.socket, *hosts: str) -> Found:
    port = server.getsockname()[1]
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]


Resolver = Callable[[Callable[[], Found]], None]


def test_an_address_is_looked_up_without_a_thread(monkeypatch: pytest.MonkeyPatch, server: socket.socket) -> None:
    monkeypatch.delattr(threading, "Thread")
    with server, dial("127.0.0.1", server.getsockname()[1], 5) as line:
        assert line.getpeername() == server.getsockname()
    assert look_up("::1", 443, 5)[0][0] == socket.AF_INET6


def test_of_several_addresses_the_first_that_takes_it_counts(resolver: Resolver, server: socket.socket) -> None:
    with server, socket.socket() as nobody:
        nobody.bind(("127.0.0.2", server.getsockname()[1]))  # bound and not listening: refused
        resolver(lambda: found(server, "127.0.0.2", "127.0.0.1"))
        with dial("vp.example", 443, 5, [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]) as line:
            assert line.getpeername()[0] == "127.0.0.1"
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        resolver(lambda: found(server, "127.0.0.2"))
        with pytest.raises(ConnectionRefusedError):
            dial("vp.example", 443, 5)


def test_what_the_resolver_says_is_raised(resolver: Resolver) -> None:
    def unknown() -> Found:
        raise socket.gaierror(socket.EAI_NONAME, "CANARY")

    resolver(unknown)
    with pytest.raises(socket.gaierror):
        dial("vp.example", 443, 5)
    resolver(list)
    with pytest.raises(ConnectionError, match="no address"):
        dial("vp.example", 443, 5)


def test_a_silent_resolver_is_left_alone(resolver: Resolver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pair = pki.server(pki.authority("appliance"), ["hsm.example"])
    file = tmp_path / "pair.pem"
    file.write_text(pair.certificate_pem + pair.key_pem)
    answer = threading.Event()
    resolver(lambda: (answer.wait(20), [])[1])
    monkeypatch.setattr(peer, "PATIENCE", 0.2)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        dial("vp.example", 443, 0.2)
    assert peer.certificate_until("https://vp.example", ssl.create_default_context()) is None
    knocked = peer.knock("hsm.example", 1792, pair.certificate_pem, cert_file=str(file), key_file=str(file))
    assert knocked == (False, "no answer in time")
    assert time.monotonic() - began < 5
    assert len(under_way()) == 3
    let_go(answer)


def test_a_signal_is_heard_while_a_name_is_looked_up(resolver: Resolver) -> None:
    answer = threading.Event()
    resolver(lambda: (answer.wait(20), [])[1])

    def stop(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    began = time.monotonic()
    try:
        with pytest.raises(InterruptedError):
            look_up("vp.example", 443, 15)
    finally:
        signal.signal(signal.SIGALRM, before)
        let_go(answer)
    assert time.monotonic() - began < 5
