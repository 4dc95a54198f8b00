"""Knows how to make one exchange by HTTP with requests: what is asked, within how many seconds and bytes, what came.

Nothing else here knows requests, urllib3 or their exceptions: those become words of our own. Two kinds of client, and
neither does the other's work: plain HTTP for IMDS, TLS by one CA for verifiers.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Final, Literal, Self

from hsm_enrol.host.bounded import Turn, ask, bounded_session, bounded_tls_session, read_at_most
from hsm_enrol.host.plain_requests import requests, urllib3
from hsm_enrol.host.retry import Deadline
from hsm_enrol.host.trust import trusting, why_untrusted
from hsm_enrol.shapes import dataclass

UNPACKED: Final = "identity"  # nobody offered to unpack anything

Cap = Callable[[int, str], int | None]
"""How many bytes of a body are wanted, by status and media type; None: it is not read, and may never end."""

How = Literal["silent", "slow", "untrusted", "broken"]
"""No answer in time; no connection (or not all of an answer) in time; TLS does not trust; anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked, and what is wanted of the answer."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    seconds: float  # for all of it
    connect: float  # for the connection
    cap: Cap = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered. `body`: at most one byte more than its cap; empty when packed, or when nobody wants it."""

    status: int
    kind: str  # media type in small letters, "" when none is told
    encoding: str  # UNPACKED, or how it is packed all the same
    retry_after: str | None  # as it was written
    seconds: float  # from the first byte sent, or the connection made, to the last one read
    body: bytes = field(repr=False)


class Failed(Exception):
    """There was no answer. `words` are this program's, or the system's for an errno; never a library's text."""

    def __init__(self, how: How, words: str) -> None:
        """Keep what happened."""
        super().__init__(words)
        self.how = how
        self.words = words


class Client:
    """One session and its connections; one exchange at a time."""

    def __init__(self, session: requests.Session, turn: Turn) -> None:
        """Carry by `session`, whose sockets obey `turn`."""
        self._session = session
        self._turn = turn

    @classmethod
    def plain(cls) -> Self:
        """Speak `http:` only."""
        turn = Turn(Deadline(0))
        return cls(bounded_session(turn), turn)

    @classmethod
    def tls(cls, ca_file: str, root: str, proxy: str) -> Self:
        """Speak `https:` only, and trust `ca_file` below `root` alone. Raises CaUnusable."""
        turn = Turn(Deadline(0))
        return cls(bounded_tls_session(turn, trusting(ca_file, root), proxy), turn)

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def fetch(self, request: Request) -> Answer:
        """Make one exchange. Raises Failed."""
        turn = self._turn.deadline = Deadline(request.seconds)
        try:
            with ask(
                self._session,
                request.method,
                request.url,
                headers=dict(request.headers),
                timeout=(request.connect, request.seconds),
                body=request.body or None,
            ) as answer:
                cap = _cap(answer, request)
                return Answer(
                    body=b"" if cap is None else read_at_most(answer.raw, cap),  # before the seconds are counted
                    status=answer.status_code,
                    kind=_kind(answer),
                    encoding=_encoding(answer),
                    retry_after=answer.headers.get("Retry-After"),
                    seconds=turn.seconds - turn.remaining(),
                )
        except (requests.RequestException, urllib3.exceptions.HTTPError) as failure:
            raise _failed(failure) from None


def _cap(answer: requests.Response, request: Request) -> int | None:
    """Give how many bytes of the body may be read; None when nobody wants it, or it is packed."""
    return request.cap(answer.status_code, _kind(answer)) if _encoding(answer) == UNPACKED else None


def _kind(answer: requests.Response) -> str:
    return answer.headers.get("Content-Type", "").split(";")[0].strip().lower()


def _encoding(answer: requests.Response) -> str:
    return answer.headers.get("Content-Encoding", UNPACKED).lower()


def _failed(failure: Exception) -> Failed:
    """Translate requests' and urllib3's exceptions; their texts, which may hold headers, stay behind."""
    if isinstance(failure, requests.ReadTimeout | urllib3.exceptions.ReadTimeoutError):
        return Failed("silent", "no answer in time")
    if isinstance(failure, requests.ConnectTimeout):
        return Failed("slow", "no connection in time")
    for cause in _chain(failure):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Failed("untrusted", why_untrusted(cause))
    slow = isinstance(failure, requests.Timeout | urllib3.exceptions.TimeoutError)
    return Failed("slow" if slow else "broken", _words(failure))


def _words(failure: Exception) -> str:
    """Say in our own words, or the system's, why there was no answer."""
    for cause in _chain(failure):
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason.replace('_', ' ').lower()}" if cause.reason else "TLS failed"
        if isinstance(cause, socket.gaierror):
            return "its name is not known here"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
    return "the proxy refused" if isinstance(failure, requests.exceptions.ProxyError) else "the connection broke"


def _chain(failure: BaseException) -> Iterator[BaseException]:
    """Give an exception and all that led to it: urllib3 keeps the first cause now as cause, now as an argument."""
    found: list[BaseException] = [failure]
    for one in found:
        yield one
        led = (one.__cause__, one.__context__, *one.args)
        found += [other for other in led if isinstance(other, BaseException) and other not in found]
