"""Knows the earliest moment by which a fleet could be served, whoever serves it: the measure of simulated starts."""

from __future__ import annotations

from lab.scale.scenario import Scenario


def bound(scenario: Scenario, visible: list[float], share: float) -> tuple[float, str]:
    """Give the earliest moment by which `share` of the fleet can be served, whoever serves it, and what sets it.

    Each limit alone, as if all others were infinite and nothing were ever retried: when EC2 shows the instances
    (`visible`), the verifiers' CPU, STS's quota, DescribeInstances with 200 instances a call.
    """
    count = scenario.instances * share
    sts, describe = scenario.quotas.sts, scenario.quotas.describe
    limits = {
        "arrival and visibility": moment(sorted(visible), scenario.instances, share),
        "verifiers' CPU": count * scenario.costs.whole / (scenario.verifiers * scenario.cores),
        "STS quota": (count - sts[0]) / sts[1],
        "DescribeInstances quota": (count / 200 - describe[0]) / describe[1],
    }
    least = 0.02 + 0.06 + 8 * scenario.network.least  # STS, EC2 and four exchanges at their quickest
    by = max(limits, key=lambda name: limits[name])
    return limits[by] + least, by


def bound_curve(scenario: Scenario, points: int = 40) -> list[tuple[float, float]]:
    """Give the lower bound as a curve, as it is known before: whom EC2 will show late is not."""
    shares = [number / points for number in range(points + 1)]
    arrivals = [scenario.spread * number / scenario.instances for number in range(scenario.instances)]
    return [(bound(scenario, arrivals, share)[0], share * scenario.instances) for share in shares]


def moment(times: list[float], count: int, share: float) -> float:
    """Give when that share of all was enrolled; infinite when it never was."""
    place = max(0, -(-int(count * share * 1000) // 1000) - 1)
    return times[place] if place < len(times) else float("inf")
