"""Knows how to carry one message to one verifier and bring the reply back: TLS by one CA, caps, one deadline.

A reply is either what was asked for, or a problem with a reason that we know. Anything else, a proxy's page as well as
silence, is no verifier's word, and the next verifier may be asked (R2).
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hsm_enrol.errors import (
    AnswerTooLarge,
    EnrolError,
    NotOurVerifier,
    VerifierUnreachable,
    VerifierUntrusted,
    WireError,
)
from hsm_enrol.host.bounded import Turn, ask, bounded_tls_session, read_at_most
from hsm_enrol.host.plain_requests import requests, urllib3
from hsm_enrol.host.retry import Deadline, seconds_of
from hsm_enrol.host.trust import trusting, why_untrusted
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.messages import ANSWER_TYPE, MAX_ANSWER, MAX_PROBLEM, PROBLEM_TYPE, REASONS, Problem

if TYPE_CHECKING:
    from hsm_enrol.settings import VerifierSettings

PATIENCE: Final = 30.0  # seconds for one exchange: the verifier itself gives AWS's answers 8 s each
CONNECT: Final = 5.0  # seconds for the connection: two lost SYNs; a verifier that is gone must not cost more


class Unanswered(Exception):
    """This verifier gave no reply that counts; `error` says why. Another one may do better."""

    def __init__(self, error: EnrolError) -> None:
        """Keep the error that it is if nobody does better."""
        super().__init__(error.fault())
        self.error = error


class Silent(Unanswered):
    """It kept us waiting until the time for it was over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent to which address, and which media type a good reply has ("" = none: 204)."""

    method: str
    url: str  # of the verifier, without path
    path: str
    wants: str
    most: int  # bytes of a good reply
    kind: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a verifier said: the wanted `body`, or a `problem` whose reason is one of REASONS."""

    status: int
    body: bytes = b""
    problem: Problem | None = None
    retry_after: float | None = None  # seconds
    seconds: float = 0.0  # from the first byte sent, or the connection made, to the last one read


class Line:
    """Connections to the verifiers, made when needed and kept."""

    def __init__(
        self, settings: VerifierSettings, *, root: str, deadline: Deadline, patience: float = PATIENCE
    ) -> None:
        """Read the CA file; nothing is sent yet. Raises CaUnusable."""
        self._ca_file = settings.ca_file
        self._patience = patience
        self._turn = Turn(deadline)
        self._session = bounded_tls_session(self._turn, trusting(settings.ca_file, root), settings.proxy)

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def exchange(self, message: Message, deadline: Deadline) -> Reply:
        """Make one exchange before `deadline`. Raises Unanswered, and AnswerTooLarge (A1)."""
        limit = deadline.timeout(self._patience)
        turn = self._turn.deadline = deadline.part(limit)
        try:
            with ask(
                self._session,
                message.method,
                message.url + message.path,
                headers={"Content-Type": message.kind} if message.kind else {},
                timeout=(min(limit, CONNECT), limit),
                body=message.body or None,
            ) as answer:
                body, problem = _read(answer, message)
                return Reply(
                    status=answer.status_code,
                    body=body,
                    problem=problem,
                    retry_after=seconds_of(answer.headers.get("Retry-After")),
                    seconds=turn.seconds - turn.remaining(),
                )
        except (requests.RequestException, urllib3.exceptions.HTTPError) as failure:
            kind = Silent if isinstance(failure, requests.Timeout | urllib3.exceptions.TimeoutError) else Unanswered
            raise kind(self._cause(failure, message.url)) from None

    def _cause(self, failure: Exception, url: str) -> EnrolError:
        """Translate requests' and urllib3's exceptions; their texts stay behind."""
        for cause in _chain(failure):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return VerifierUntrusted(url=url, ca_file=self._ca_file, why=why_untrusted(cause))
        return VerifierUnreachable(url=url, error=_words(failure))


def _read(answer: requests.Response, message: Message) -> tuple[bytes, Problem | None]:
    """Read a reply that counts. Raises Unanswered, AnswerTooLarge."""
    not_ours = Unanswered(NotOurVerifier(url=message.url, status=answer.status_code))
    if answer.status_code == requests.codes.no_content and not message.wants:
        return b"", None
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise not_ours  # nobody offered to unpack anything
    kind = answer.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if answer.status_code == requests.codes.ok and kind == message.wants:
        body = read_at_most(answer.raw, message.most)
        if len(body) <= message.most:
            return body, None
        raise AnswerTooLarge(url=message.url, limit=MAX_ANSWER) if kind == ANSWER_TYPE else not_ours
    if answer.status_code < requests.codes.bad_request or kind != PROBLEM_TYPE:
        raise not_ours
    body = read_at_most(answer.raw, MAX_PROBLEM)
    try:
        problem = Problem.from_bytes(body if len(body) <= MAX_PROBLEM else b"")
    except WireError:
        raise not_ours from None
    if problem.reason not in REASONS:  # a later version's: not understood here, so it means "later"
        raise not_ours
    return b"", problem


def _words(failure: Exception) -> str:
    """Say in our own words, or the system's, why there was no reply."""
    if isinstance(failure, requests.ReadTimeout | urllib3.exceptions.ReadTimeoutError):
        return "no answer in time"
    if isinstance(failure, requests.ConnectTimeout):
        return "no connection in time"
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
