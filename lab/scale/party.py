"""Knows how to run verifying parties in made-up time: the real Service and ledger; CPU and workers are counted."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from botocore.exceptions import ClientError
from greenlet import getcurrent, greenlet

from hsm_enrol.wire.assertion import Assertion
from hsm_verifier.answer_keys import AnswerKeys
from hsm_verifier.evidence.iid import Documents
from hsm_verifier.inventory.clients import Clients
from hsm_verifier.inventory.ec2 import Ec2Inventory, facts_of
from hsm_verifier.inventory.facts import Facts
from hsm_verifier.inventory.words import refusal_of
from hsm_verifier.ledger.clerk import InPlace
from hsm_verifier.limits import Buckets
from hsm_verifier.nonce import Nonces
from hsm_verifier.refusal import Refusal
from hsm_verifier.room import PATIENCE, Room
from hsm_verifier.service import Reply, Service
from hsm_verifier.world import World
from lab.scale.cloud import ACCOUNT, REGION, ROLE, Cloud
from lab.scale.ledger import AUDIENCE, CountingAudit, Ledger
from lab.scale.simulation import Cpu, Seats, Simulation

T = TypeVar("T")
SOURCE = "10.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """CPU seconds of a verifier, from `make bench` (docs/performance.md)."""

    connection: float = 0.0010
    challenge: float = 0.0002
    enrolment: float = 0.0037
    receipt: float = 0.0013

    @property
    def answered(self) -> float:
        """What it takes until an instance has its answer."""
        return self.connection + self.challenge + self.enrolment

    @property
    def whole(self) -> float:
        """An enrolment with everything that belongs to it."""
        return self.answered + self.receipt


class OneCallEach:
    """The naive inventory: each request asks EC2 for its instance. The role is taken as true to spare IAM."""

    def __init__(self, cloud: Cloud) -> None:
        """Make a client of its own."""
        self._client = Clients(make_client=cloud.make_client).get("ec2", (ACCOUNT, REGION))

    def look_up(self, request: Assertion) -> Facts:
        """V9 without any sharing. Raises Refusal."""
        try:
            (page,) = self._client.paginate(Filters=[{"Name": "instance-id", "Values": [request.sub]}])
        except ClientError as error:
            raise refusal_of(error) from None
        for reservation in page["Reservations"]:
            return replace(facts_of(reservation, reservation["Instances"][0], (ACCOUNT, REGION)), role=ROLE)
        raise Refusal("not_visible_yet", "V9 not_found")


class Lost(Exception):
    """The connection is gone; whether the request was carried out, nobody on this side knows."""


class Verifier:
    """One verifying party with a CPU, workers and a fate."""

    def __init__(
        self,
        simulation: Simulation,
        ledger: Ledger,
        cloud: Cloud,
        rng: random.Random,
        *,
        naive: bool,
        workers: int,
        queue: int,
        connections: int,
        cores: int,
        costs: Costs,
    ) -> None:
        """Begin up."""
        self._simulation, self._ledger, self._cloud, self._rng = simulation, ledger, cloud, rng
        self._naive, self._costs, self._size, self._connections = naive, costs, (workers, queue), connections
        self.cpu = Cpu(simulation, cores)
        self.audit = CountingAudit()
        self.peak_queue = 0
        self.refused_at_the_door = 0
        self.closed_unheard = 0
        self.starts = 0
        self._handling: dict[greenlet, None] = {}  # in their order: a set's is another in each process
        self._up()

    def crash(self, down: float) -> None:
        """Die now, with every request under way; come back after `down` seconds knowing only what was committed."""
        self.is_up = False
        for task in tuple(self._handling):
            self._simulation.kill(task)
        self._simulation.at(self._simulation.now + down, self._up)

    def connect(self) -> int:
        """Shake hands, unless there are too many connections (V1): that costs next to nothing. Raises Lost.

        Gives the number of the process that counts the connection.
        """
        if self.is_up and self._open >= self._connections:
            self.closed_unheard += 1
            raise Lost
        self._open += 1
        start = self.starts
        self._handle(lambda: self.cpu.work(self._costs.connection))
        return start

    def hang_up(self, start: int) -> None:
        """End a connection that was made when the process had this number."""
        if start == self.starts:
            self._open -= 1

    def challenge(self) -> Reply:
        """Answer `GET /v1/challenge`. Raises Lost."""

        def work() -> Reply:
            self.cpu.work(self._costs.challenge)
            return self._service.challenge()

        return self._handle(work)

    def enrol(self, body: bytes) -> Reply:
        """Answer `POST /v1/enrolments`. Raises Lost."""
        return self._handle(lambda: self._in_a_seat("enrolment", self._costs.enrolment, self._service.enrol, body))

    def receipt(self, body: bytes) -> Reply:
        """Answer `POST /v1/receipts`. Raises Lost."""
        return self._handle(lambda: self._in_a_seat("receipt", self._costs.receipt, self._service.receipt, body))

    def _in_a_seat(self, event_name: str, cost: float, work: Callable[[bytes, str], Reply], body: bytes) -> Reply:
        try:
            self._room.enter(event_name)
        except Refusal as refusal:
            self.refused_at_the_door += 1
            self.cpu.work(self._costs.challenge)  # to read a request and to answer it costs as much as a challenge
            return self._service.refuse(event_name, SOURCE, refusal)
        self.peak_queue = max(self.peak_queue, self._room.waiting)
        if not self._seats.take(PATIENCE):
            self.refused_at_the_door += 1
            self.cpu.work(self._costs.challenge)
            self._room.give_up()
            return self._service.refuse(event_name, SOURCE, self._room.later(event_name, "queue_slow"))
        try:
            self.cpu.work(cost)
            return work(body, SOURCE)
        finally:
            self._seats.leave()
            self._room.leave(event_name)

    def _handle(self, work: Callable[[], T]) -> T:
        """Do the work in a task of its own, which a crash ends; the caller then finds its connection gone."""
        if not self.is_up:
            raise Lost
        done: list[T] = []
        bell = self._simulation.bell()

        def run() -> None:
            try:
                done.append(work())
            finally:
                self._handling.pop(getcurrent(), None)
                bell.set()

        self._handling[self._simulation.spawn(run)] = None
        bell.wait(3600.0)
        if not done:
            raise Lost
        return done[0]

    def _up(self) -> None:
        """Start the process: nothing is remembered but the ledger."""
        simulation, ledger = self._simulation, self._ledger
        self._seats = Seats(simulation, self._size[0])
        self._room = Room(*self._size, simulation.monotonic)
        self._open = 0
        inventory = (
            OneCallEach(self._cloud)
            if self._naive
            else Ec2Inventory(make_client=self._cloud.make_client, clock=simulation.monotonic, bell=simulation.bell)
        )
        world = World(
            audience=AUDIENCE,
            policy=ledger.policy,
            store=ledger.store,
            clerk=InPlace(ledger.store),
            vault=ledger.vault,
            nonces=Nonces(b"n" * 32, AUDIENCE),
            keys=AnswerKeys((ledger.key,)),
            sts=self._cloud,
            inventory=inventory,
            documents=Documents({}),
            asks=Buckets(6 / 60, 6, simulation.monotonic),
            clock=simulation.clock,
            rng=self._rng,
        )
        self._service = Service(world, self.audit)
        self.is_up = True
        self.starts += 1
