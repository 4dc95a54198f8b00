"""Knows how to talk with the verifying party: challenge, assertion, answer, receipt; whom to ask next, and when.

R1 nothing that is heard here changes what the agent stores: an answer is given on unverified, a refusal is raised.
R2 a verifier that cannot be reached, or answers with anything that no verifier says, is passed over at once for the
next; a problem with a reason that we know is the verifier's word, and no other is asked behind its back.
R3 "now" is obeyed three times a run, Retry-After up to 15 minutes. All waiting is done in one place (host/rounds.py).
Every attempt begins with a fresh challenge, and the assertion is made anew for it. The first challenge may be asked for
before its turn (`begin`), so that the connection is made while IMDS is read.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from typing import Final

from hsm_enrol.errors import (
    AlreadyEnrolled,
    ClockWrong,
    NotOurVerifier,
    VerifierUnreachable,
    WireError,
)
from hsm_enrol.host.early import Early
from hsm_enrol.host.exchange import PATIENCE, Line, Message, Silent, Unanswered
from hsm_enrol.host.heard import Heard
from hsm_enrol.host.retry import Deadline, boottime
from hsm_enrol.host.rounds import Rounds
from hsm_enrol.host.their_clock import TheirClock
from hsm_enrol.settings import VerifierSettings
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.messages import (
    ANSWER_TYPE,
    ASSERTION_TYPE,
    JSON_TYPE,
    MAX_ANSWER,
    RECEIPT_TYPE,
    Challenge,
)

MAX_CHALLENGE: Final = 8 * 1024
FRESH: Final = 5.0  # seconds for which what was asked for before its turn may still be used
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
        self._theirs = TheirClock(clock)
        self._on_exchange = on_exchange
        self._line = Line(settings, root=root, patience=patience)
        self._rounds = Rounds(settings.urls, deadline=deadline, rng=rng, sleep=sleep, on_wait=on_wait)
        self._deadline = deadline
        self._early: tuple[Message, Early[Heard]] | None = None

    @property
    def offset(self) -> float:
        """Seconds to add to our clock to get the verifier's; 0.0 within 5 s, and before anybody told."""
        return self._theirs.offset

    @property
    def url(self) -> str:
        """The verifier that answered last, empty before."""
        return self._rounds.url

    def close(self) -> None:
        """Give the connections back."""
        self._line.close()

    def begin(self) -> None:
        """Ask the first verifier for a challenge now, beside whatever else is done until `ask` needs it.

        How it went is heard, and told, where the challenge is needed.
        """
        message, end = _asking(self._rounds.first), self._deadline.part(PATIENCE)
        with suppress(RuntimeError):  # no thread to be had: then it is asked when its turn comes
            self._early = (message, Early(lambda: self._carry(message, end)))

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
        outgoing = make(self._challenge(url, end), self._theirs.now())
        heard = self._exchange(
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
        if heard.problem is not None and heard.problem.reason == "already_enrolled":
            raise AlreadyEnrolled(decision=heard.decision, thumbprint=outgoing.thumbprint, instance=outgoing.instance)
        return self._heed(heard)

    def _challenge(self, url: str, end: Deadline) -> Challenge:
        heard = self._exchange(_asking(url), end)
        try:
            challenge = Challenge.from_bytes(self._heed(heard))
        except WireError:
            raise Unanswered(NotOurVerifier(url=url, status=heard.reply.status)) from None
        self._learn_time(challenge.server_time, heard)
        return challenge

    def _hand_in(self, url: str, receipt: bytes, end: Deadline) -> bool:
        heard = self._exchange(
            Message(method="POST", url=url, path="/v1/receipts", kind=RECEIPT_TYPE, body=receipt, wants="", most=0), end
        )
        if heard.problem is not None and heard.reply.status == _NOT_FOUND:
            return False
        self._heed(heard)
        return True

    # --- what was heard

    def _exchange(self, message: Message, end: Deadline) -> Heard:
        try:
            heard = self._begun(message, end) or self._carry(message, end)
        except Unanswered as failure:
            self._note(message, failure.error.fault())
            raise
        self._rounds.url = message.url
        self._note(message, heard.told())
        return heard

    def _begun(self, message: Message, end: Deadline) -> Heard | None:
        """Give, once, what came of `begin`; None when that is nothing for this message, or old. Raises Unanswered."""
        if self._early is None or self._early[0] != message:
            return None
        early, self._early = self._early[1], None
        try:
            heard = early.take(end.timeout(end.seconds))
        except TimeoutError:
            raise Silent(VerifierUnreachable(url=message.url, error="no answer in time")) from None
        except Unanswered:
            if early.age > FRESH:
                return None
            raise
        return heard if early.age <= FRESH else None

    def _carry(self, message: Message, end: Deadline) -> Heard:
        return Heard(reply=self._line.exchange(message, end), came=boottime())

    def _heed(self, heard: Heard) -> bytes:
        """Give the body; or raise what a problem means."""
        told = heard.problem
        if told is not None and told.server_time is not None and told.reason == "clock_skew":
            self._learn_time(told.server_time, heard)
        return heard.body()

    def _learn_time(self, server_time: int, heard: Heard) -> None:
        try:
            self._theirs.learn(server_time, seconds=heard.reply.seconds / 2 + boottime() - heard.came)
        except ClockWrong as wrong:
            raise Unanswered(wrong) from None

    def _note(self, message: Message, outcome: str) -> None:
        if self._on_exchange is not None:
            self._on_exchange(f"{message.method} {message.url}{message.path}: {outcome}")


def _asking(url: str) -> Message:
    """Give the question for a challenge."""
    return Message(method="GET", url=url, path="/v1/challenge", wants=JSON_TYPE, most=MAX_CHALLENGE)
