"""Knows what a fleet's start is given, from quotas to crashes, and what is told of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hsm_enrol.wire.seal import KEMS
from lab.scale.cloud import Quotas, Weather
from lab.scale.instance import Network
from lab.scale.party import Costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`spread` is over how many seconds the instances come up. `crashes` are (moment, verifier, seconds down).

    `at_once` is a load generator's circle: so many at a time, the next as soon as one is through; `think` is what an
    asker needs for itself, in seconds.
    """

    instances: int
    spread: float = 10.0
    seed: int = 1
    verifiers: int = 2
    cores: int = 1
    workers: int = 128
    queue: int = 2048
    connections: int = 3072
    naive: bool = False
    proven: bool = True
    kem: str = KEMS[0]
    tools: float = 3.0
    at_once: int = 0
    think: float = 0.0
    costs: Costs = field(default_factory=Costs)
    quotas: Quotas = field(default_factory=Quotas)
    weather: Weather = field(default_factory=Weather)
    network: Network = field(default_factory=Network)
    crashes: tuple[tuple[float, int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it. Times in seconds from the first instance's start."""

    instances: int
    enrolled_at: tuple[float, ...] = field(repr=False)
    described_at: tuple[float, ...] = field(repr=False)
    t50: float
    t99: float
    t100: float
    bound99: float
    bound_by: str
    stranded: int
    owners: int
    confirmed: int
    calls: dict[str, int]
    throttled: dict[str, int]
    waits: dict[str, int]
    decisions: dict[str, int]
    refused_at_the_door: int
    receipts_by_refresh: int
    peak_queue: int
    cpu: float
    events: int

    @property
    def describes_each(self) -> float:
        """DescribeInstances calls an instance, those that were throttled too."""
        return self.calls.get("DescribeInstances", 0) / self.instances

    def as_json(self) -> dict[str, Any]:
        """Give all but the long lists."""
        found = asdict(self)
        del found["enrolled_at"], found["described_at"]
        return found | {"describes_each": self.describes_each}


def troubled(plain: Scenario) -> Scenario:
    """Let it go wrong: EC2 and STS answer 503 for six seconds, a balancer for two; each verifier dies once.

    One reply in a hundred is lost, one instance in five is shown late.
    """
    return replace(
        plain,
        weather=Weather(late=0.2, latest=40.0, storms=((8.0, 14.0),)),
        network=Network(lost=0.01, storms=((3.0, 5.0),)),
        crashes=((6.0, 0, 4.0), (12.0, 1, 4.0)),
    )
