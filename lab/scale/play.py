"""Knows one fleet's start from beginning to end: who starts when, what is asked of whom, and what came of it."""

from __future__ import annotations

import contextlib
import logging
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import func, select

from hsm_enrol.wire.keys import generate_key
from hsm_enrol.wire.seal import SealPrivateKey
from hsm_verifier.ledger.schema import gates, instances, slots
from lab.bench.asker import Asker, Facts, Party
from lab.scale.bound import bound, moment
from lab.scale.cloud import Cloud
from lab.scale.instance import Life
from lab.scale.ledger import AUDIENCE, Ledger
from lab.scale.party import Verifier
from lab.scale.scenario import Outcome, Scenario
from lab.scale.simulation import Seats, Simulation

END = 48 * 3600.0  # seconds; who has not told by then that it has its bundle is stranded


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that plays together."""

    scenario: Scenario
    rng: random.Random
    simulation: Simulation
    cloud: Cloud
    ledger: Ledger
    verifiers: tuple[Verifier, ...]


def run(scenario: Scenario) -> Outcome:
    """Let it happen, without the verifiers' log lines."""
    memory = Path("/dev/shm")
    with quiet(), tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        stage = set_up(scenario, Path(folder))
        if scenario.proven:
            prove_pin(stage.ledger)
        lives = launch(stage)
        for at, number, down in scenario.crashes:
            stage.simulation.at(at, partial(stage.verifiers[number].crash, down))
        stage.simulation.run(until=END)
        return tell(stage, lives)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep log lines of ten thousand decisions away."""
    logger = logging.getLogger("hsm_verifier")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def set_up(scenario: Scenario, folder: Path) -> Stage:
    """Make AWS, the ledger and the verifiers."""
    rng = random.Random(scenario.seed)
    simulation = Simulation()
    cloud = Cloud(simulation, rng, scenario.quotas, scenario.weather)
    ledger = Ledger(folder, simulation)
    verifiers = tuple(
        Verifier(
            simulation,
            ledger,
            cloud,
            rng,
            naive=scenario.naive,
            workers=scenario.workers,
            queue=scenario.queue,
            connections=scenario.connections,
            cores=scenario.cores,
            costs=scenario.costs,
        )
        for _ in range(scenario.verifiers)
    )
    return Stage(scenario=scenario, rng=rng, simulation=simulation, cloud=cloud, ledger=ledger, verifiers=verifiers)


def launch(stage: Stage) -> list[Life]:
    """Start everybody: evenly over the spread, each with an owner key of its own and the fleet's one seal key."""
    scenario, rng = stage.scenario, stage.rng
    party = Party(audience=AUDIENCE, answer_key=stage.ledger.key.public_key())
    seal = SealPrivateKey.generate(scenario.kem)
    circle = Seats(stage.simulation, scenario.at_once or scenario.instances)
    lives = []
    for number in range(scenario.instances):
        at = rng.uniform(0.0, scenario.spread)
        born = stage.cloud.launch(number, at)
        facts = Facts(instance_id=born.instance_id, instance=born.instance, credentials=born.credentials, iid=None)
        asker = Asker(facts=facts, party=party, seal=seal, key=generate_key())
        own = random.Random(rng.getrandbits(64))
        life = Life(stage.simulation, asker, stage.verifiers, scenario.network, own, tools=scenario.tools)
        stage.simulation.spawn(partial(in_turn, stage, life, circle), after=at)
        lives.append(life)
    return lives


def in_turn(stage: Stage, life: Life, circle: Seats) -> None:
    """Live when it is one's turn."""
    circle.take()
    try:
        stage.simulation.sleep(stage.scenario.think)
        life.live()
    finally:
        circle.leave()


def prove_pin(ledger: Ledger) -> None:
    """Note that the PIN was accepted before: a group that scales out, not one that was made today."""
    gate = ledger.vault.entry("web", ledger.serial).gate
    if gate is None:
        raise RuntimeError("the bundle has a PIN")
    with ledger.store.deciding() as tx:
        tx.execute(gates.insert().values(pin_id=gate.pin_id, members=gate.members_text(), state="PROVEN"))


def tell(stage: Stage, lives: list[Life]) -> Outcome:
    """Count."""
    scenario, cloud = stage.scenario, stage.cloud
    times = sorted(life.enrolled for life in lives if life.enrolled is not None)
    at_least, by = bound(scenario, [(one.launched, one.visible) for one in cloud.born.values()], 0.99)
    with stage.ledger.store.reading() as tx:
        owners = tx.execute(select(func.count(func.distinct(instances.c.owner)))).scalar_one()
        confirmed = tx.execute(select(func.count()).where(slots.c.state == "CONFIRMED")).scalar_one()
    stage.ledger.store.close()
    return Outcome(
        instances=scenario.instances,
        enrolled_at=tuple(times),
        described_at=tuple(cloud.described_at),
        t50=moment(times, scenario.instances, 0.5),
        t99=moment(times, scenario.instances, 0.99),
        t100=moment(times, scenario.instances, 1.0),
        bound99=at_least,
        bound_by=by,
        stranded=sum(life.done is None for life in lives),
        owners=owners,
        confirmed=confirmed,
        calls=dict(cloud.calls),
        throttled=dict(cloud.throttled),
        waits=dict(sum((life.waits for life in lives), Counter())),
        decisions=dict(sum((one.audit.counted for one in stage.verifiers), Counter())),
        refused_at_the_door=sum(one.refused_at_the_door for one in stage.verifiers),
        receipts_by_refresh=sum(life.owed > 0 for life in lives),
        peak_queue=max(one.peak_queue for one in stage.verifiers),
        cpu=sum(one.cpu.used for one in stage.verifiers),
        events=stage.simulation.events,
    )
