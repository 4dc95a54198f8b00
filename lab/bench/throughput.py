"""Knows how many instances a second one verifier serves, how long each waits and what each costs.

`python -m lab.bench.throughput` runs the real `hsm-verifier serve` (TLS, durable ledger and audit) for fleets at 1, 8
and 64 clients, and once with restarts under load.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from lab import charts
from lab.bench.asker import Facts
from lab.bench.generators import Generator, Plan, orders_of
from lab.bench.site import AwsApart, Verifier, aws_apart, verifier
from lab.bench.weight import Weight, share
from lab.postgres import Postgres

RESTART_EVERY = 1.5  # seconds
WARM = 16  # enrolments before the clock starts: the PIN is proven, pools are open


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run. Latencies in milliseconds of a whole enrolment, CPU in milliseconds an enrolment.

    `restarts` are those that began and ended under load; of a verifier that was restarted no CPU is known.
    """

    clients: int
    connections: str
    enrolled: int
    per_second: float
    p50: float
    p99: float
    answer_p50: float
    answer_p99: float
    server_cpu: float | None
    server_system: float | None
    generator_cpu: float
    aws_cpu: float
    server_peak_mib: float
    broken: dict[str, int]
    restarts: int = 0


def measure(site: Verifier, aws: AwsApart, fleet: list[Facts], plan: Plan, restarts: int = 0) -> Figures:
    """Enrol a fleet; the verifier is restarted so many times meanwhile, unless the load ends before."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=site.folder)))
        generators = [Generator(place, stack) for place in orders_of(folder, site, fleet, plan)]
        for one in generators:
            one.wait_ready()
        server, played, processes = site.used(), aws.used(), site.processes
        for one in generators:
            one.go()
        restarted = restart(site, restarts, lambda: all(one.at_work for one in generators))
        told = [one.result() for one in generators]
        server_after, played_after = site.used(), aws.used()
    whole = sorted(value for one in told for value in one["whole"])
    answers = sorted(value for one in told for value in one["exchange"])
    count = len(whole)
    if sum(one["opened"] for one in told) != count or count != len(fleet):
        raise RuntimeError(f"{count} of {len(fleet)} were served")
    each, known = 1e3 / count, site.processes is processes
    return Figures(
        clients=plan.clients,
        connections=plan.connections,
        enrolled=count,
        per_second=count / max(one["wall"] for one in told),
        p50=statistics.median(whole),
        p99=percentile(whole, 0.99),
        answer_p50=statistics.median(answers),
        answer_p99=percentile(answers, 0.99),
        server_cpu=(server_after.cpu - server.cpu) * each if known else None,
        server_system=(server_after.system - server.system) * each if known else None,
        generator_cpu=sum(one["cpu"] for one in told) * each,
        aws_cpu=(played_after.cpu - played.cpu) * each,
        server_peak_mib=server_after.peak_mib,
        broken=dict(sum((Counter(one["broken"]) for one in told), Counter())),
        restarts=restarted,
    )


def percentile(values: list[float], share: float) -> float:
    """Give the value that `share` of the sorted values do not exceed."""
    return values[min(len(values) - 1, int(len(values) * share))]


def restart(site: Verifier, times: int, under_load: Callable[[], bool]) -> int:
    """Restart the verifier so many times; tell how often the load lasted from a restart's beginning to its end."""
    for done in range(times):
        threading.Event().wait(RESTART_EVERY)
        if not under_load():
            return done
        site.stop()
        site.start()
        if not under_load():
            return done
    return times


HEADING = (
    f"{'clients':>7} {'connections':11} {'/s':>5} {'p50 ms':>7} {'p99 ms':>7} "
    f"{'CPU ms: server':>15} {'asker':>6} {'AWS':>5} {'MiB':>5}"
)


def line(one: Figures) -> str:
    """Write one run as a line of the table."""
    cpu = f"{one.server_cpu:15.2f}" if one.server_cpu is not None else f"{'restarted':>15}"
    return (
        f"{one.clients:7} {one.connections:11} {one.per_second:5.0f} {one.p50:7.1f} {one.p99:7.1f} "
        f"{cpu} {one.generator_cpu:6.2f} {one.aws_cpu:5.2f} {one.server_peak_mib:5.0f}"
        + (f"\n{'':7} not at once: {one.broken}" if one.broken else "")
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="throughput", description=__doc__)
    parser.add_argument("--count", type=int, default=1500, help="enrolments at 64 clients; fewer at fewer clients")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--connections", choices=("fresh", "each", "kept"), nargs="+", default=["fresh", "kept"])
    parser.add_argument("--processes", type=int, default=2, help="of load generators")
    parser.add_argument("--verifiers", type=int, default=1, help="processes of the verifier, on one socket and ledger")
    parser.add_argument("--restarts", type=int, default=3, help="of the verifier, under load, in a run of its own")
    parser.add_argument("--server", default="", help="TOML for [server]")
    parser.add_argument("--postgres", action="store_true", help="a PostgreSQL of its own, durable, has the ledger")
    parser.add_argument("--out", type=Path, help="folder for throughput.json and throughput.svg")
    args = parser.parse_args()
    plans = [
        (Plan(clients=clients, connections=how, processes=args.processes), max(40, args.count * clients // 64))
        for how in args.connections
        for clients in args.clients
    ]
    total = WARM + sum(count for _, count in plans) + args.count
    found = []
    with tempfile.TemporaryDirectory(prefix="hsm-bench-") as folder, ExitStack() as stack:
        place = Path(folder) / "vp"
        database = stack.enter_context(Postgres(durable=True)) if args.postgres else None
        with (
            aws_apart(Path(folder), total) as aws,
            verifier(place, aws, server=args.server, database=database, count=args.verifiers) as site,
        ):
            fleet, empty = iter(aws.fleet()), Weight.of(place)
            measure(site, aws, list(islice(fleet, WARM)), Plan(clients=1))
            print(f"{site.used().peak_mib:.0f} MiB after {WARM} enrolments, one after another\n{HEADING}")
            for plan, count in plans:
                found.append(measure(site, aws, list(islice(fleet, count)), plan))
                print(line(found[-1]), flush=True)
            if args.restarts:
                plan = Plan(clients=16, processes=args.processes)
                last = measure(site, aws, list(fleet), plan, args.restarts)
                found.append(last)
                print(f"{line(last)}\n{'':7} {last.restarts} restarts under load, all {last.enrolled} were served")
        if database is None:  # what lies in PostgreSQL is not weighed
            print(share(empty, Weight.of(place), aws.counted, WARM + sum(one.enrolled for one in found)).line())
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        name = "throughput" + ("-postgresql" if args.postgres else "")
        name += f"-{args.verifiers}-processes" if args.verifiers > 1 else ""
        (args.out / f"{name}.json").write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
        (args.out / f"{name}.svg").write_text(chart(found))


def chart(found: list[Figures]) -> str:
    """Draw where an enrolment's CPU goes, run by run."""
    rows = [
        charts.Bar(
            name=f"{one.clients} clients, {one.connections}",
            pieces=[
                ("verifier, user", one.server_cpu - one.server_system),
                ("verifier, kernel", one.server_system),
                ("askers", one.generator_cpu),
                ("AWS stand-in", one.aws_cpu),
            ],
            note=f"ms; {one.per_second:.0f}/s",
        )
        for one in found
        if one.server_cpu is not None and one.server_system is not None
    ]
    return charts.bars("CPU of one enrolment over TLS with durable commits", rows, unit="milliseconds")


if __name__ == "__main__":
    main()
