"""Knows how to carry one message to one verifier and bring the reply back: TLS by one CA, caps, one deadline.

A reply is either what was asked for, or a problem with a reason that we know. Anything else, a proxy's page as well as
silence, is no verifier's word, and the next verifier may be asked (R2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsm_enrol.errors import (
    AnswerTooLarge,
    EnrolError,
    NotOurVerifier,
    VerifierUnreachable,
    VerifierUntrusted,
    WireError,
)
from hsm_enrol.host.http_client import UNPACKED, Answer, Client, Failed, Request
from hsm_enrol.host.retry import Deadline, seconds_of
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.messages import ANSWER_TYPE, MAX_ANSWER, MAX_PROBLEM, PROBLEM_TYPE, REASONS, Problem

if TYPE_CHECKING:
    from hsm_enrol.settings import VerifierSettings

PATIENCE: Final = 30.0  # seconds for one exchange: the verifier itself gives AWS's answers 8 s each
_OK, _NO_CONTENT, _BAD_REQUEST = 200, 204, 400
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

    def cap(self, status: int, kind: str) -> int | None:
        """Give how many bytes of such a reply are read: of a good one, of a problem, of anything else none."""
        if self.is_good(status, kind):
            return self.most
        return MAX_PROBLEM if is_problem(status, kind) else None

    def is_good(self, status: int, kind: str) -> bool:
        """Whether such a reply holds what is wanted."""
        return status == _OK and kind == self.wants != ""


def is_problem(status: int, kind: str) -> bool:
    """Whether such a reply says why not."""
    return status >= _BAD_REQUEST and kind == PROBLEM_TYPE


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

    def __init__(self, settings: VerifierSettings, *, root: str, patience: float = PATIENCE) -> None:
        """Read the CA file; nothing is sent yet. Raises CaUnusable."""
        self._ca_file = settings.ca_file
        self._patience = patience
        self._client = Client.tls(settings.ca_file, root, settings.proxy)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def exchange(self, message: Message, deadline: Deadline) -> Reply:
        """Make one exchange before `deadline`. Raises Unanswered, and AnswerTooLarge (A1)."""
        limit = deadline.timeout(self._patience)
        request = Request(
            method=message.method,
            url=message.url + message.path,
            headers={"Content-Type": message.kind} if message.kind else {},
            seconds=limit,
            connect=min(limit, CONNECT),
            cap=message.cap,
            body=message.body,
        )
        try:
            answer = self._client.fetch(request)
        except Failed as failure:
            kind = Silent if failure.how in {"silent", "slow"} else Unanswered
            raise kind(self._cause(failure, message.url)) from None
        body, problem = _understood(answer, message)
        return Reply(
            status=answer.status,
            body=body,
            problem=problem,
            retry_after=seconds_of(answer.retry_after),
            seconds=answer.seconds,
        )

    def _cause(self, failure: Failed, url: str) -> EnrolError:
        if failure.how == "untrusted":
            return VerifierUntrusted(url=url, ca_file=self._ca_file, why=failure.words)
        return VerifierUnreachable(url=url, error=failure.words)


def _understood(answer: Answer, message: Message) -> tuple[bytes, Problem | None]:
    """Give what counts of an answer. Raises Unanswered, AnswerTooLarge."""
    not_ours = Unanswered(NotOurVerifier(url=message.url, status=answer.status))
    if answer.status == _NO_CONTENT and not message.wants:
        return b"", None
    if answer.encoding != UNPACKED:
        raise not_ours
    if message.is_good(answer.status, answer.kind):
        if len(answer.body) <= message.most:
            return answer.body, None
        raise AnswerTooLarge(url=message.url, limit=MAX_ANSWER) if answer.kind == ANSWER_TYPE else not_ours
    if not is_problem(answer.status, answer.kind):
        raise not_ours
    try:
        problem = Problem.from_bytes(answer.body if len(answer.body) <= MAX_PROBLEM else b"")
    except WireError:
        raise not_ours from None
    if problem.reason not in REASONS:  # a later version's: not understood here, so it means "later"
        raise not_ours
    return b"", problem
