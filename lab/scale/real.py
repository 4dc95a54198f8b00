"""Knows whether the simulator tells the truth: the same fleet once with real processes and once in made-up time.

`python -m lab.scale.real` starts `hsm-verifier serve`, AWS in a process of its own and asking processes, measures what
an enrolment costs there, gives the simulator these costs and the same instances, and prints both.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.bench.generators import Plan
from lab.bench.site import aws_apart, verifier
from lab.bench.throughput import WARM, Figures, measure
from lab.scale.cloud import Quotas, Weather
from lab.scale.instance import Network
from lab.scale.party import Costs
from lab.scale.play import run
from lab.scale.scenario import Scenario

LOOPBACK = 0.00005  # seconds one way
NEAR = 1.35  # how far apart the two may be


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The same fleet twice. Seconds, and DescribeInstances calls."""

    instances: int
    real_seconds: float
    simulated_seconds: float
    real_calls: int
    simulated_calls: int

    @property
    def apart(self) -> float:
        """How many times longer the slower of the two took."""
        return max(self.real_seconds, self.simulated_seconds) / min(self.real_seconds, self.simulated_seconds)


def really(instances: int, clients: int) -> tuple[Figures, int]:
    """Run it with real processes; gives figures and how often EC2 was asked."""
    with tempfile.TemporaryDirectory(prefix="hsm-bench-") as folder:
        with aws_apart(Path(folder), instances + WARM) as aws, verifier(Path(folder) / "vp", aws) as site:
            fleet = aws.fleet()
            measure(site, aws, fleet[:WARM], Plan(clients=1))
            figures = measure(site, aws, fleet[WARM:], Plan(clients=clients))
        return figures, aws.counted["ec2"]["DescribeInstances"] - WARM


def simulated(instances: int, clients: int, real: Figures) -> tuple[float, int]:
    """Let the simulator play it: so many start as soon as the one before them is through, on a core that costs this.

    A load generator's clients are a closed circle; here each instance starts when a client would have taken it up.
    """
    if real.server_cpu is None:
        raise ValueError("of a verifier that was restarted no CPU is known")
    whole = real.server_cpu / 1e3
    share = Costs()
    costs = Costs(
        connection=whole * share.connection / share.whole,
        challenge=whole * share.challenge / share.whole,
        enrolment=whole * share.enrolment / share.whole,
        receipt=whole * share.receipt / share.whole,
    )
    found = run(
        Scenario(
            instances=instances,
            spread=0.0,
            verifiers=1,
            tools=0.0,
            costs=costs,
            at_once=clients,
            think=real.generator_cpu / 1e3 * clients / 2,
            quotas=Quotas(describe=(1e6, 1e6), iam=(1e6, 1e6), sts=(1e6, 1e6)),
            weather=Weather(late=0.0, quick=True),
            network=Network(least=LOOPBACK, most=2 * LOOPBACK),
        )
    )
    return found.t100, found.calls["DescribeInstances"]


def main() -> int:
    """Compare and print; status 1 when they are too far apart."""
    parser = argparse.ArgumentParser(prog="real", description=__doc__)
    parser.add_argument("--instances", type=int, default=500)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    real, calls = really(args.instances, args.clients)
    seconds, played = simulated(args.instances, args.clients, real)
    found = Compared(
        instances=args.instances,
        real_seconds=args.instances / real.per_second,
        simulated_seconds=seconds,
        real_calls=calls,
        simulated_calls=played,
    )
    print(f"{'':12}{'all enrolled after':>20}{'EC2 calls':>11}")
    print(f"{'processes':12}{found.real_seconds:18.2f} s{found.real_calls:11}")
    print(f"{'simulated':12}{found.simulated_seconds:18.2f} s{found.simulated_calls:11}")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        told = {name: getattr(found, name) for name in Compared.__slots__} | {"apart": found.apart}
        (args.out / "real.json").write_text(json.dumps(told, indent=1) + "\n")
    return int(found.apart > NEAR)


if __name__ == "__main__":
    sys.exit(main())
