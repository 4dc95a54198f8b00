"""Knows how to show what a fleet's start costs: `python -m lab.scale --instances 10000 --out build/scale`.

Runs the verifier as it is and a naive one that asks EC2 for each instance, prints both beside the lower bound, and
writes figures as JSON and curves as SVG.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lab import charts
from lab.scale.bound import bound_curve
from lab.scale.play import run
from lab.scale.scenario import Outcome, Scenario, troubled


def main() -> int:
    """Run, print, write; status 1 when somebody is stranded or was served twice."""
    parser = argparse.ArgumentParser(prog="scale", description=__doc__)
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--spread", type=float, default=10.0, help="seconds over which the instances come up")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verifiers", type=int, default=2)
    parser.add_argument("--kem", default="mlkem768-x25519", choices=("mlkem768-x25519", "p256"))
    parser.add_argument("--only", choices=("batched", "naive", "trouble", "first-day"), nargs="+")
    parser.add_argument("--out", type=Path, help="folder for figures.json, enrolled.svg, calls.svg")
    args = parser.parse_args()
    plain = Scenario(
        instances=args.instances, spread=args.spread, seed=args.seed, verifiers=args.verifiers, kem=args.kem
    )
    scenarios = {
        "batched": plain,
        "naive": replace(plain, naive=True),
        "trouble": troubled(plain),
        "first-day": replace(plain, proven=False),
    }
    found: dict[str, Outcome] = {}
    print(HEADING)
    for name in args.only or scenarios:
        begin = time.monotonic()
        found[name] = run(scenarios[name])
        print(line(name, found[name], time.monotonic() - begin), flush=True)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        figures = {name: one.as_json() for name, one in found.items()}
        (args.out / "figures.json").write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
        (args.out / "enrolled.svg").write_text(enrolled_chart(found, plain))
        (args.out / "calls.svg").write_text(calls_chart(found))
    return int(any(wrong(one) for one in found.values()))


def wrong(one: Outcome) -> str:
    """Say which promise was broken, "" when none was."""
    if one.stranded:
        return "stranded"
    # What the verifiers answered as new is told by their audits: the ledger has one row an instance, whatever happened.
    firsts = one.decisions.get("enrolment answered new", 0)
    return "" if firsts == one.owners == one.confirmed == one.instances else "served twice or not at all"


HEADING = (
    f"{'scenario':10} {'t50':>6} {'t99':>6} {'t100':>6} {'bound':>6} {'t99/bound':>9} {'EC2 calls':>9} {'each':>6} "
    f"{'waits':>6} {'queue':>5}"
)


def line(name: str, one: Outcome, took: float) -> str:
    """Write one run; under it what set the bound, and how long the run took."""
    calls = one.calls.get("DescribeInstances", 0)
    return (
        f"{name:10} {one.t50:6.1f} {one.t99:6.1f} {one.t100:6.1f} {one.bound99:6.1f} {one.t99 / one.bound99:9.2f} "
        f"{calls:9} {one.describes_each:6.3f} {sum(one.waits.values()):6} {one.peak_queue:5}"
        f"\n{'':10} bound by {one.bound_by}; run in {took:.0f} s; {wrong(one) or 'everyone served, nobody twice'}"
    )


def enrolled_chart(found: dict[str, Outcome], plain: Scenario) -> str:
    """Draw how many are enrolled by when."""
    curves = [charts.Line(name=name, points=steps(one.enrolled_at)) for name, one in found.items()]
    curves.append(charts.Line(name="lower bound", points=bound_curve(plain), dashed=True))
    title = f"{plain.instances:,} instances started within {plain.spread:.0f} s, {plain.verifiers} verifiers"
    return charts.lines(title, curves, across="seconds since the first started", up="instances enrolled")


def calls_chart(found: dict[str, Outcome]) -> str:
    """Draw how often EC2 was asked, second by second."""
    curves = []
    for name, one in found.items():
        seconds = [0] * (int(max(one.described_at, default=0.0)) + 2)
        for moment in one.described_at:
            seconds[int(moment)] += 1
        curves.append(charts.Line(name=name, points=[(float(at), float(n)) for at, n in enumerate(seconds)]))
    return charts.lines(
        "DescribeInstances calls a second, all verifiers together",
        curves,
        across="seconds since the first started",
        up="calls a second (quota: 100 at once, then 20 a second)",
    )


def steps(times: Sequence[float], points: int = 300) -> list[tuple[float, float]]:
    """Thin a sorted list of moments out to a curve of counts."""
    every = max(1, len(times) // points)
    curve = [(0.0, 0.0)] + [(times[at], float(at + 1)) for at in range(0, len(times), every)]
    return [*curve, (times[-1], float(len(times)))] if times else curve


if __name__ == "__main__":
    sys.exit(main())
