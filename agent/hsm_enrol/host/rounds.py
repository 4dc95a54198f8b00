"""Knows whom of several verifiers to ask next, and when: R2 and R3 of docs/protocol.md."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, TypeVar

from hsm_enrol.errors import EnrolError, VerifierUnreachable
from hsm_enrol.host.exchange import Silent, Unanswered
from hsm_enrol.host.retry import Deadline, retrying

T = TypeVar("T")
Act = Callable[[str, Deadline], T]
"""What is done with one verifier, and until when."""

MOST_AT_ONCE: Final = 3
ROOM: Final = 1.0  # seconds that a last attempt wants; with less its time-out would hide the cause
BASE, CAP = 0.5, 30.0  # seconds: first and longest bound of the jitter; a whole fleet may be waiting


class Later(Exception):
    """A verifier's word to come back, after `retry_after` seconds if it named them."""

    def __init__(self, error: EnrolError, retry_after: float | None = None) -> None:
        """Keep the error that it is when there is no time left."""
        super().__init__(error.fault())
        self.error = error
        self.retry_after = retry_after


class AtOnce(Later):
    """A verifier's word to ask again now, with a fresh challenge."""


class Rounds:
    """The order of asking, over one run with one deadline."""

    def __init__(
        self,
        urls: tuple[str, ...],
        *,
        deadline: Deadline,
        rng: random.Random,
        sleep: Callable[[float], None],
        on_wait: Callable[[str, float], None] | None,
    ) -> None:
        """Draw in which order `urls` are asked: else a fleet that starts at once asks the first and spares the rest."""
        self._urls = tuple(rng.sample(urls, len(urls)))
        self._deadline = deadline
        self._rng = rng
        self._sleep = sleep
        self._on_wait = on_wait
        self._left_at_once = MOST_AT_ONCE
        self.url = ""
        """The verifier that answered last, "" before: whoever hears an answer sets it, and it is asked first."""
        self._drawn = ""  # who is asked first instead, because the last answer was "later"
        self._silent: set[str] = set()  # who kept us waiting in vain, half a minute perhaps

    def persist(self, act: Act[T], *, seconds: float | None = None) -> T:
        """Do `act` with one verifier after the other until it works or the run's deadline, or `seconds`, is over.

        Of `act` Unanswered, Later and AtOnce are understood; their error is what is raised in the end. What else it
        raises passes through at once.
        """
        deadline = self._deadline if seconds is None else self._deadline.anew(seconds)
        loop = retrying(
            deadline,
            on=(Unanswered, Later),
            sleep=self._sleep,
            rng=self._rng,
            base=BASE,
            cap=CAP,
            room=ROOM,
            on_wait=self._tell_wait,
        )
        try:
            found: T = loop(self._round, act, deadline)
        except (Unanswered, Later) as last:
            raise last.error from None
        return found

    def _round(self, act: Act[T], deadline: Deadline) -> T:
        """Ask each in turn, beginning with the one that answered last or the one that was drawn, until one answers."""
        order, self._drawn = self._order(), ""
        worst: EnrolError | None = None  # not the exception: its traceback would keep alive what is asked for next
        for url in order:
            if worst is not None and deadline.expired:
                break
            try:
                return self._insist(act, url, deadline)
            except Unanswered as failure:
                if worst is None or isinstance(worst, VerifierUnreachable):  # the least telling of causes
                    worst = failure.error
        raise Unanswered(worst) if worst is not None else TypeError("no verifier to ask")

    def _insist(self, act: Act[T], url: str, deadline: Deadline) -> T:
        """Ask one; again at once when it says so, three times a run, then "now" means later (R3).

        Who said "later" may be busier than the others: whom to ask first after that is drawn among all but who kept
        us waiting.
        """
        self._silent.discard(url)
        while True:
            try:
                return act(url, deadline)
            except Silent:
                self._silent.add(url)
                raise
            except Later as said:
                if isinstance(said, AtOnce) and self._left_at_once:
                    self._left_at_once -= 1
                    continue
                self._drawn = self._rng.choice([one for one in self._urls if one not in self._silent])
                raise

    @property
    def first(self) -> str:
        """The verifier that is asked first."""
        return self._order()[0]

    def _order(self) -> tuple[str, ...]:
        wanted = self._drawn or self.url
        first = self._urls.index(wanted) if wanted else 0
        return self._urls[first:] + self._urls[:first]

    def _tell_wait(self, failure: BaseException, seconds: float) -> None:
        if self._on_wait is not None and isinstance(failure, Unanswered | Later):
            self._on_wait(failure.error.fault(), seconds)
