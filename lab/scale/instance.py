"""Knows one instance's life in a fleet: boots, asks, joins, tells. How it waits is the agent's own code."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from hsm_enrol.errors import EnrolError, NotOurVerifier, TryLater, VerifierUnreachable
from hsm_enrol.host.exchange import Silent, Unanswered
from hsm_enrol.host.heard import LATER, NOW
from hsm_enrol.host.retry import Deadline
from hsm_enrol.host.rounds import AtOnce, Later, Rounds
from hsm_enrol.receipts import PATIENCE
from hsm_enrol.wire.assertion import Assertion
from hsm_enrol.wire.messages import PROBLEM_TYPE, Challenge, Problem
from hsm_verifier.service import Reply
from lab.bench.asker import Asker
from lab.scale.party import Lost, Verifier
from lab.scale.simulation import Simulation

T = TypeVar("T")
OK, NO_CONTENT = 200, 204
DEADLINE = 600.0  # the agent's default
KEEP_ALIVE = 5.0  # [server] keep_alive: the verifier closes what is idle for longer
AGAIN = 60.0  # seconds after which the unit starts a run that ran out of time again
REFRESH = 30 * 3600.0  # seconds: hsm-enrol-refresh.timer, daily and up to six hours later, tells what is still due


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One way in seconds, and what of replies is lost. `storms` are (begin, end): a balancer answers 503 for itself."""

    least: float = 0.0003
    most: float = 0.002
    lost: float = 0.0
    patience: float = 30.0
    storms: tuple[tuple[float, float], ...] = ()


class Life:
    """One instance. Times in the simulation's seconds; `enrolled` is when its bundle was opened."""

    def __init__(
        self,
        simulation: Simulation,
        asker: Asker,
        verifiers: Sequence[Verifier],
        network: Network,
        rng: random.Random,
        *,
        tools: float,
    ) -> None:
        """Be launched, not booted."""
        self._simulation, self._asker, self._network, self._rng, self._tools = simulation, asker, network, rng, tools
        self._verifiers = {f"https://vp{number}": one for number, one in enumerate(verifiers)}
        self.began = 0.0
        self.enrolled: float | None = None
        self.done: float | None = None
        self.owed = 0  # times that a receipt was left to the refresh
        self.waits: Counter[str] = Counter()
        self._line: tuple[str, int] | None = None  # the connection that is open: to which process

    def live(self) -> None:
        """Run the agent until it is through."""
        self.began = self._simulation.now
        while self.done is None:
            rounds, joined = self._rounds(), False
            try:
                if self.enrolled is None:
                    self._join(rounds)
                joined = True
                self._tell(rounds, "installed", "accepted", seconds=PATIENCE)
                self.done = self._simulation.now
            except EnrolError:
                self._hang_up()  # the process ends
                self.owed += joined
                self._simulation.sleep(self._rng.uniform(0.0, REFRESH) if joined else AGAIN)
        self._hang_up()

    def _join(self, rounds: Rounds) -> None:
        request, body = rounds.persist(lambda url, *_: self._enrol(rounds, url))
        answer = self._asker.read(body)
        if self._asker.open(answer, request) is None:
            raise RuntimeError("nothing was installed before, so nothing can be current")
        self.enrolled = self._simulation.now
        self._request, self._serial = request, answer.serial
        if answer.trial:
            self._tell(rounds, "trying", "untried")
        self._sleep(self._tools)

    def _tell(self, rounds: Rounds, result: str, pin: str, *, seconds: float | None = None) -> None:
        body = self._asker.receipt(self._request, self._serial, result, pin)

        def hand_in(url: str, *_: Deadline) -> None:
            verifier = self._connect(url)
            reply = self._carry(url, lambda: verifier.receipt(body))
            self._heed(rounds, url, reply, NO_CONTENT)

        rounds.persist(hand_in, seconds=seconds)

    def _enrol(self, rounds: Rounds, url: str) -> tuple[Assertion, bytes]:
        verifier = self._connect(url)
        told = self._heed(rounds, url, self._carry(url, verifier.challenge), OK)
        nonce = Challenge.from_bytes(told).nonce
        moment = datetime.fromtimestamp(self._simulation.clock(), UTC)
        request = self._asker.request(
            nonce, amz_date=moment.strftime("%Y%m%dT%H%M%SZ"), iat=int(self._simulation.clock())
        )
        body = self._asker.signed(request)
        return request, self._heed(rounds, url, self._carry(url, lambda: verifier.enrol(body)), OK)

    def _connect(self, url: str) -> Verifier:
        """Give the verifier, by the connection that is open, or by a new one."""
        verifier = self._verifiers[url]
        if self._line != (url, verifier.starts):
            self._hang_up()
            self._line = (url, self._carry(url, verifier.connect, may_be_lost=False))
        return verifier

    def _carry(self, url: str, exchange: Callable[[], T], *, may_be_lost: bool = True) -> T:
        """Send, wait, receive. Raises Unanswered for whatever keeps the reply away."""
        network, simulation = self._network, self._simulation
        simulation.sleep(self._rng.uniform(network.least, network.most))
        if any(begin <= simulation.now < end for begin, end in network.storms):
            raise Unanswered(NotOurVerifier(url=url, status=503))
        try:
            reply = exchange()
        except Lost:
            self._hang_up()
            raise Unanswered(VerifierUnreachable(url=url, error="connection lost")) from None
        simulation.sleep(self._rng.uniform(network.least, network.most))
        if may_be_lost and self._rng.random() < network.lost:
            simulation.sleep(network.patience)
            self._hang_up()
            raise Silent(VerifierUnreachable(url=url, error="timed out"))
        return reply

    def _heed(self, rounds: Rounds, url: str, reply: Reply, wanted: int) -> bytes:
        """Give the body, or raise what a problem means, as the courier does."""
        rounds.url = url
        if reply.close:
            self._hang_up()
        if reply.status == wanted:
            return reply.body
        if reply.kind != PROBLEM_TYPE:
            raise Unanswered(NotOurVerifier(url=url, status=reply.status))
        problem = Problem.from_bytes(reply.body)
        later = TryLater(reason=problem.reason, decision=problem.decision or "-")
        if problem.reason in NOW:
            raise AtOnce(later)
        if problem.reason in LATER:
            # Retry-After goes over the wire in whole seconds.
            raise Later(later, None if reply.retry_after is None else max(1.0, -(-reply.retry_after // 1)))
        raise RuntimeError(f"refused: {problem.reason}")

    def _rounds(self) -> Rounds:
        return Rounds(
            tuple(self._verifiers),
            deadline=Deadline(DEADLINE, self._simulation.monotonic),
            rng=self._rng,
            sleep=self._sleep,
            on_wait=self._note_wait,
        )

    def _hang_up(self) -> None:
        if self._line is not None:
            url, start = self._line
            self._verifiers[url].hang_up(start)
            self._line = None

    def _sleep(self, seconds: float) -> None:
        """Let time pass; the verifier closes the connection meanwhile if it is too long."""
        if seconds > KEEP_ALIVE:
            self._simulation.at(self._simulation.now + KEEP_ALIVE, self._hang_up)
        self._simulation.sleep(seconds)

    def _note_wait(self, why: str, _seconds: float) -> None:
        self.waits[why.partition(" (decision")[0].removeprefix("the verifier asks to come back later: ")] += 1
