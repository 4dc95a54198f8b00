"""One exchange at a time with a peer that says, byte for byte, what the test wants it to say."""

import contextlib
import errno
import os
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
import requests
import urllib3

from hsm_enrol.host.http_client import Answer, Cap, Client, Failed, Request

HELD_OPEN = 20  # seconds; an exchange that waits for the rest ends long before, as a failure


@contextlib.contextmanager
def peer(says: bytes) -> Iterator[str]:
    """Answer every connection with `says`, and then say no more and hang up neither."""
    over = threading.Event()

    def talk(taken: socket.socket) -> None:
        with taken, contextlib.suppress(OSError):
            taken.recv(65536)
            taken.sendall(says)
            over.wait(HELD_OPEN)

    def take() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = server.accept()
                threading.Thread(target=talk, args=(taken,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        over.set()


def at_most(cap: int) -> Cap:
    return lambda _status, _kind: cap


def ask(url: str, cap: Cap, seconds: float = 5) -> Answer:
    client = Client.plain()
    try:
        return client.fetch(
            Request(method="GET", url=url + "/x", headers={}, seconds=seconds, connect=seconds, cap=cap)
        )
    finally:
        client.close()


def page(status: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, "", "")).encode() + body


@pytest.mark.parametrize(
    ("said", "cap"),
    [
        (
            page("503 No", "Content-Length: 9", "Retry-After: 7"),
            lambda status, _kind: 100 if status in {200, 404} else None,
        ),
        (
            page("200 OK", "Content-Length: 9", "Content-Type: text/html"),
            lambda _status, kind: 100 if kind == "text/plain" else None,
        ),
        (page("200 OK", "Content-Length: 9", "Content-Encoding: gzip"), at_most(100)),
    ],
    ids=["a status whose page says no more", "a kind that nobody wants", "packed"],
)
def test_a_body_that_nobody_wants_is_not_waited_for(said: bytes, cap: Cap) -> None:
    with peer(said) as url:
        answer = ask(url, cap)
    assert answer.body == b""
    assert answer.retry_after == ("7" if b"Retry-After" in said else None)
    assert answer.encoding == ("gzip" if b"gzip" in said else "identity")


def test_a_body_that_is_wanted_and_does_not_come_is_silence() -> None:
    with peer(page("200 OK", "Content-Length: 9")) as url, pytest.raises(Failed) as caught:
        ask(url, at_most(100), seconds=0.3)
    assert (caught.value.how, caught.value.words) == ("silent", "no answer in time")


@pytest.mark.parametrize("length", [99, 100, 101, 5000])
def test_one_byte_more_than_the_cap_is_read_and_no_more(length: int) -> None:
    with peer(page("200 OK", f"Content-Length: {length}", body=b"a" * length)) as url:
        assert ask(url, at_most(100)).body == b"a" * min(length, 101)


def test_the_cap_is_asked_for_by_status_and_kind() -> None:
    with peer(page("200 OK", "Content-Type: Text/Plain; charset=x", "Content-Length: 9", body=b"a" * 9)) as url:
        answer = ask(url, lambda status, kind: 3 if (status, kind) == (200, "text/plain") else 100)
    assert (answer.kind, answer.body) == ("text/plain", b"aaaa")


CANARY = "CANARY-in-a-library's-text"


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, CANARY)
    error.verify_code = 10
    return error


def tls(reason: str | None) -> ssl.SSLError:
    error = ssl.SSLError(1, CANARY)
    error.reason = reason  # type: ignore[assignment]  # OpenSSL names none for some
    return error


@pytest.mark.parametrize(
    ("cause", "how", "words"),
    [
        (requests.ReadTimeout(CANARY), "silent", "no answer in time"),
        (urllib3.exceptions.ReadTimeoutError(None, "", CANARY), "silent", "no answer in time"),  # type: ignore[arg-type]
        (requests.ConnectTimeout(CANARY), "slow", "no connection in time"),
        (requests.exceptions.SSLError(untrusted()), "untrusted", "expired by this machine's clock"),
        (requests.exceptions.SSLError(tls("WRONG_VERSION_NUMBER")), "broken", "TLS failed: wrong version number"),
        (requests.exceptions.SSLError(tls(None)), "broken", "TLS failed"),
        (requests.ConnectionError(socket.gaierror(-2, CANARY)), "broken", "its name is not known here"),
        (requests.ConnectionError(OSError(errno.ECONNREFUSED, CANARY)), "broken", os.strerror(errno.ECONNREFUSED)),
        (requests.exceptions.ProxyError(CANARY), "broken", "the proxy refused"),
        (requests.exceptions.ChunkedEncodingError(CANARY), "broken", "the connection broke"),
    ],
)
def test_each_failure_has_words_of_our_own(
    cause: Exception, how: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> requests.Response:
        raise cause

    client = Client.plain()
    monkeypatch.setattr(client._session, "send", fail)
    with pytest.raises(Failed) as caught:
        client.fetch(Request(method="GET", url="http://127.0.0.1:1/", headers={}, seconds=1, connect=1, cap=at_most(9)))
    assert (caught.value.how, caught.value.words) == (how, words)
    assert CANARY not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(("make", "url"), [("plain", "https://127.0.0.1:1/"), ("tls", "http://127.0.0.1:1/")])
def test_neither_client_does_the_others_work(make: str, url: str) -> None:
    client = Client.plain() if make == "plain" else Client.tls("system", "", "")
    with pytest.raises(Failed) as caught:
        client.fetch(Request(method="GET", url=url, headers={}, seconds=1, connect=1, cap=at_most(9)))
    assert caught.value.words == "the connection broke"
    client.close()


def test_what_is_sent_and_what_comes_is_in_no_ones_repr() -> None:
    asked = Request(
        method="PUT", url="http://x/", headers={"T": CANARY}, seconds=1, connect=1, cap=at_most(9), body=CANARY.encode()
    )
    told = Answer(status=200, kind="", encoding="", retry_after=None, seconds=0, body=CANARY.encode())
    assert "CANARY" not in repr(asked) + repr(told)
    assert "http://x/" in repr(asked)
