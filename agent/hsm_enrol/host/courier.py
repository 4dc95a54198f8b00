"""Knows how to talk with the verifying party: challenge, assertion, answer, receipt; whom to ask next, and when.

R1 nothing that is heard here changes what the agent stores: an answer is given on unverified, a refusal is raised.
R2 a verifier that cannot be reached, or answers with anything that no verifier says, is passed over at once for the
next; a problem with a reason that we know is the verifier's word, and no other is asked behind its back.
R3 "now" is obeyed three times a run, Retry-After up to 15 minutes. All waiting is done in one place (host/rounds.py).
Every attempt begins with a fresh challenge, and the assertion is made anew for it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import field
from typing import Final

from hsm_enrol.errors import (
    AlreadyEnrolled,
    ClockWrong,
    NotOurVerifier,
    Refused,
    TryLater,
    WireError,
)
from hsm_enrol.host.exchange import PATIENCE, Line, Message, Reply, Unanswered
from hsm_enrol.host.printable import printable
from hsm_enrol.host.retry import Deadline
from hsm_enrol.host.rounds import AtOnce, Later, Rounds
from hsm_enrol.settings import VerifierSettings
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.messages import (
    ANSWER_TYPE,
    ASSERTION_TYPE,
    JSON_TYPE,
    MAX_ANSWER,
    RECEIPT_TYPE,
    Challenge,
    Problem,
)

MAX_CHALLENGE: Final = 8 * 1024
NOW: Final = frozenset({"nonce_stale", "clock_skew"})
LATER: Final = frozenset({"busy", "not_visible_yet", "upstream_busy", "hold"})
SAME_CLOCK: Final = 5.0  # seconds of difference that count as none
WRONG_CLOCK: Final = 6 * 3600.0  # seconds of difference beyond which this machine's time means nothing
_NO_DECISION = "-"
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One assertion made for one challenge; instance and owner key's thumbprint are for the operator's grant."""

    compact: bytes = field(repr=False)
    instance: str
    thumbprint: str


Make = Callable[[Challenge, float], Outgoing]
"""Makes the assertion for a challenge; the second argument is the verifier's time now, Unix seconds."""


class Courier:
    """One asker, a session kept, one deadline for everything it does."""

    def __init__(
        self,
        settings: VerifierSettings,
        *,
        root: str,
        deadline: Deadline,
        rng: random.Random,
        sleep: Callable[[float], None],
        clock: Callable[[], float] = time.time,
        on_wait: Callable[[str, float], None] | None = None,
        on_exchange: Callable[[str], None] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """Read the CA file, raises CaUnusable; nothing is sent yet.

        `on_wait` hears why and how many seconds before each wait; `on_exchange` one line for each exchange, with what
        the verifier wrote for people made printable: it is for `-v`, never for a decision.
        """
        self._clock = clock
        self._on_exchange = on_exchange
        self._line = Line(settings, root=root, deadline=deadline, patience=patience)
        self._rounds = Rounds(settings.urls, deadline=deadline, rng=rng, sleep=sleep, on_wait=on_wait)
        self._offset = 0.0

    @property
    def offset(self) -> float:
        """Seconds to add to our clock to get the verifier's; 0.0 within 5 s, and before anybody told."""
        return self._offset

    @property
    def url(self) -> str:
        """The verifier that answered last, empty before."""
        return self._rounds.url

    def close(self) -> None:
        """Give the connections back."""
        self._line.close()

    def greet(self) -> Challenge:
        """Ask for a challenge and nothing else: is a verifier there, what does it say of itself? Raises as `ask`."""
        return self._rounds.persist(self._challenge)

    def ask(self, make: Make) -> bytes:
        """Give the answer's bytes, unverified, at most MAX_ANSWER of them.

        Raises AlreadyEnrolled, Refused, AnswerTooLarge at once; when the deadline is over TryLater, NotOurVerifier,
        VerifierUntrusted, VerifierUnreachable, ClockWrong. What `make` raises passes through.
        """
        return self._rounds.persist(lambda url, end: self._enrol(url, make, end))

    def tell(self, receipt: bytes, *, seconds: float | None = None) -> bool:
        """Hand a receipt in: True when it was taken, False when this verifier has no slot of ours. Raises as `ask`.

        With `seconds` this message has a time of its own, whatever is left of the run's: a long installation must not
        silence the word about it, nor a dead verifier keep a finished run.
        """
        return self._rounds.persist(lambda url, end: self._hand_in(url, receipt, end), seconds=seconds)

    # --- the three messages

    def _enrol(self, url: str, make: Make, end: Deadline) -> bytes:
        outgoing = make(self._challenge(url, end), self._clock() + self._offset)
        reply = self._exchange(
            Message(
                method="POST",
                url=url,
                path="/v1/enrolments",
                kind=ASSERTION_TYPE,
                body=outgoing.compact,
                wants=ANSWER_TYPE,
                most=MAX_ANSWER,
            ),
            end,
        )
        if reply.problem is not None and reply.problem.reason == "already_enrolled":
            raise AlreadyEnrolled(
                decision=_decision(reply.problem), thumbprint=outgoing.thumbprint, instance=outgoing.instance
            )
        return self._heed(reply)

    def _challenge(self, url: str, end: Deadline) -> Challenge:
        reply = self._exchange(
            Message(method="GET", url=url, path="/v1/challenge", wants=JSON_TYPE, most=MAX_CHALLENGE), end
        )
        try:
            challenge = Challenge.from_bytes(self._heed(reply))
        except WireError:
            raise Unanswered(NotOurVerifier(url=url, status=reply.status)) from None
        self._learn_time(challenge.server_time, reply.seconds)
        return challenge

    def _hand_in(self, url: str, receipt: bytes, end: Deadline) -> bool:
        reply = self._exchange(
            Message(method="POST", url=url, path="/v1/receipts", kind=RECEIPT_TYPE, body=receipt, wants="", most=0), end
        )
        if reply.problem is not None and reply.status == _NOT_FOUND:
            return False
        self._heed(reply)
        return True

    # --- what was heard

    def _exchange(self, message: Message, end: Deadline) -> Reply:
        try:
            reply = self._line.exchange(message, end)
        except Unanswered as failure:
            self._note(message, failure.error.fault())
            raise
        self._rounds.url = message.url
        self._note(message, _told(reply))
        return reply

    def _heed(self, reply: Reply) -> bytes:
        """Give the body; or raise what a problem means: AtOnce, Later, Refused."""
        problem = reply.problem
        if problem is None:
            return reply.body
        if problem.server_time is not None and problem.reason == "clock_skew":
            self._learn_time(problem.server_time, reply.seconds)
        later = TryLater(reason=problem.reason, decision=_decision(problem))
        if problem.reason in NOW:
            raise AtOnce(later)
        if problem.reason in LATER:
            raise Later(later, reply.retry_after)
        raise Refused(reason=problem.reason, decision=_decision(problem))

    def _learn_time(self, server_time: int, seconds: float) -> None:
        """Compare clocks: the verifier looked at its own in the middle of an exchange that took `seconds`.

        Ours is read once, now: a clock that is set during the exchange does no harm.
        """
        offset = server_time + seconds / 2 - self._clock()
        if abs(offset) > WRONG_CLOCK:
            raise Unanswered(ClockWrong(seconds=round(abs(offset))))
        self._offset = 0.0 if abs(offset) <= SAME_CLOCK else offset

    def _note(self, message: Message, outcome: str) -> None:
        if self._on_exchange is not None:
            self._on_exchange(f"{message.method} {message.url}{message.path}: {outcome}")


def _decision(problem: Problem) -> str:
    return problem.decision or _NO_DECISION


def _told(reply: Reply) -> str:
    problem = reply.problem
    if problem is None:
        return f"{reply.status}, {len(reply.body)} bytes"
    detail = printable(problem.detail)
    return f"{reply.status} {problem.reason}, decision {_decision(problem)}" + (f" ({detail})" if detail else "")
